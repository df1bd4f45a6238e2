"""``gateway connect``, ``password``, ``disconnect`` and ``logins``: one person's access."""

import asyncio
import sys
import time
from typing import Annotated, Any

import typer

from gateway.cli.commands.calendars import (
    PrincipalArgument,
    calendars_of,
    print_calendars,
    show_calendar,
)
from gateway.cli.options import (
    ConfigOption,
    DataOption,
    Opened,
    opened,
    read_settings,
)
from gateway.cli.output import JsonFlag, refusals, show, stderr, stdout, table
from gateway.cli.sidecar import open_sidecar
from gateway.cli.times import machine_zone, parse_zone
from gateway.core.errors import InvalidInput
from gateway.services.access import logins as access
from gateway.services.access import people
from gateway.services.access.people import PersonRef
from gateway.store.access.principals import LoginKind
from gateway.store.engine import Session
from gateway.store.operations.erasing import erase_some

FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the app-specific password from stdin.")
]


def connect(
    email: Annotated[str, typer.Argument(help="Apple Account address.")],
    principal: Annotated[
        str | None, typer.Option(help="An existing principal; otherwise one is made.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new principal.")] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="IANA zone of the new principal; asked for, else this machine's."),
    ] = None,
    password_stdin: FromStdin = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Connect an iCloud account: checks it live, stores nothing when the check fails."""
    with refusals(as_json=as_json), opened(read_settings(config, data)) as gateway:
        password = _password(password_stdin)
        named = "" if principal else _zone(zone)
        principal_id = asyncio.run(
            _connect(gateway, principal, name or email, named, (email, password))
        )
        listed = calendars_of(gateway, principal_id)
        with gateway.database.read() as session:
            person = people.find_person(session, PersonRef(principal_id))
    result = {
        "principal": principal_id,
        "time_zone": person.time_zone,
        "calendars": [show_calendar(calendar) for calendar in listed],
    }

    def text() -> None:
        stdout.print(f"Connected. Principal {principal_id}, zone {person.time_zone}\n")
        print_calendars(listed)
        stdout.print(f"\nNext: gateway roles {principal_id} --linked NAME --conflict NAME")

    show(result, as_json=as_json, text=text)


async def _connect(
    gateway: Opened, principal: str | None, name: str, zone: str, login: tuple[str, str]
) -> str:
    """Connect, removing a principal made for this when the account is refused (R1)."""
    made = None
    if principal is None:
        with gateway.database.write() as session:
            made = people.create_person_at_home(
                session, name=name, time_zone=zone, now=int(time.time())
            ).id
    principal_id = principal or made or ""
    try:
        async with open_sidecar(gateway.settings, gateway.database, gateway.key) as sidecar:
            await sidecar.accounts.connect(principal_id, *login)
    except BaseException:
        if made:
            with gateway.database.write() as session:
                people.retire_person(session, PersonRef(made), now=int(time.time()))
                erase_some(session)
        raise
    return principal_id


def _zone(given: str | None) -> str:
    """Return the zone of a new principal: given, typed, or that of this machine, and say which.

    A wrong zone shifts every floating and all-day time of a person, so it is never assumed
    silently. Raises :class:`InvalidInput` when there is nobody to ask and nothing to go by.
    """
    found = machine_zone()
    if given is None and sys.stdin.isatty():
        given = str(typer.prompt("Time zone of this person", default=found or "UTC", err=True))
    if given is not None:
        return parse_zone(given.strip()).key
    if found is None:
        raise InvalidInput(
            "Say in which time zone this person lives, for example --zone Europe/Berlin.",
            code="zone-needed",
        )
    stderr.print(f"Time zone {found}, as on this machine; --zone names another.")
    return found


def password(
    principal: PrincipalArgument,
    email: Annotated[
        str | None, typer.Option(help="The Apple Account's address, if it has changed.")
    ] = None,
    password_stdin: FromStdin = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Replace the app-specific password: checked live; choice, mirror and appointments stay."""
    with refusals(as_json=as_json), opened(read_settings(config, data)) as gateway:
        calendars_of(gateway, principal)
        secret = _password(password_stdin)

        async def replace() -> None:
            async with open_sidecar(gateway.settings, gateway.database, gateway.key) as sidecar:
                await sidecar.accounts.replace_credential(principal, secret, email=email)

        asyncio.run(replace())
    show(
        {"principal": principal, "state": "ok"},
        as_json=as_json,
        text="The new password works and is stored; the old one is gone.",
    )


def disconnect(
    principal: PrincipalArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Disconnect the iCloud account: secret and mirror are erased, appointments stay."""
    with refusals(as_json=as_json), opened(read_settings(config, data)) as gateway:
        calendars_of(gateway, principal)
        if not yes and sys.stdin.isatty():
            typer.confirm("Erase the password and what was mirrored?", abort=True, err=True)

        async def leave() -> None:
            async with open_sidecar(gateway.settings, gateway.database, gateway.key) as sidecar:
                await sidecar.accounts.disconnect(principal)

        asyncio.run(leave())
    show(
        {"principal": principal, "state": "disconnected"},
        as_json=as_json,
        text="Disconnected. Appointments and Blocked Slots stay; in iCloud nothing was changed.",
    )


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().strip()
    stderr.print("An app-specific password is made at account.apple.com, Sign-In and Security.")
    return str(typer.prompt("App-specific password", hide_input=True, err=True))


def logins(
    principal: PrincipalArgument,
    add: Annotated[str | None, typer.Option(help="Make a login: device or platform.")] = None,
    label: Annotated[str, typer.Option(help="What the new login is for.")] = "",
    revoke: Annotated[str | None, typer.Option(help="Id of a login to revoke.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List, make or revoke the logins of a principal."""
    if add not in (None, "device", "platform"):
        raise typer.BadParameter("must be device or platform", param_hint="--add")
    with (
        refusals(as_json=as_json),
        opened(read_settings(config, data), with_key=False) as gateway,
        gateway.database.write() as session,
    ):
        owner = PersonRef(principal)
        people.find_person(session, owner)
        made = _change_logins(session, owner, add, label, revoke)
        listed = access.list_logins(session, owner)
    result: dict[str, Any] = {"logins": listed}
    if made:
        result["login"], result["password"] = made

    def text() -> None:
        if made:
            stdout.print(f"User      {made[0]}\nPassword  {made[1]}  (shown this once)\n")
        rows = [[one.id, one.kind, one.login, one.label, one.user_agent or "–"] for one in listed]
        table("id", "kind", "login", "label", "last used by", rows=rows, empty="No logins yet.")

    show(result, as_json=as_json, text=text)


def _change_logins(
    session: Session, owner: PersonRef, add: str | None, label: str, revoke: str | None
) -> tuple[str, str] | None:
    if revoke:
        access.revoke_login(session, owner, revoke)
    if add is None:
        return None
    kind: LoginKind = "device" if add == "device" else "platform"
    made, secret = access.create_login(session, owner, kind=kind, label=label, now=int(time.time()))
    return made.login, secret
