"""Demo accounts."""

from dataclasses import dataclass

from gateway.lookalike.world import World


@dataclass(frozen=True)
class DemoAccount:
    """One seeded account and a fresh app-specific password for it."""

    email: str
    name: str
    app_password: str


def seed_demo(world: World) -> list[DemoAccount]:
    """Create the demo accounts (first version: empty calendars)."""
    people = (("robin@icloud.com", "Robin Example"), ("sam@icloud.com", "Sam Example"))
    return [
        DemoAccount(email, name, world.add_account(email, name=name).issue_app_password())
        for email, name in people
    ]
