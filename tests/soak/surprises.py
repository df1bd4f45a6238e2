"""What can go wrong at iCloud on a day, and in which forms iCloud exists: all of the registry."""

import random
from typing import Any

from tests.faults.cases import CASES, Case
from tests.faults.life import CALENDARS
from tests.faults.person import Person

Variants = list[tuple[str, dict[str, Any]]]

FAULTS = [*CASES, Case("drop-tokens")]
LASTS_S = (30, 60, 300, 1800)

ALWAYS = [("delete-honours-etag", {})]
"""Else nobody could know of an edit made between our last look and our DELETE."""

VARIANTS: Variants = [
    *(("discovery-form", {"form": form}) for form in ("root-href", "301", "302", "307", "308")),
    ("joined-challenges", {}),
    ("unknown-user-403", {}),
    ("subscription-with-calendar", {}),
    ("subscription-without-source", {}),
    ("passed-untold", {}),
    ("token-is-ctag", {}),
    ("token-lifetime", {"age": 3600}),
    *(("token-refusal", {"form": form}) for form in ("element", "412", "410")),
    ("expand-empty", {}),
    ("null-ctag", {}),
    ("escaped-at", {}),
]
VARIANTS_EACH = 3


def choose_variants(dice: random.Random) -> Variants:
    """What one account's iCloud is like."""
    return [*ALWAYS, *dice.sample(VARIANTS, VARIANTS_EACH)]


def set_variants(person: Person, variants: Variants) -> None:
    """Let an account's iCloud be like this."""
    for name, params in variants:
        person.fault(name, **params)


def strike(person: Person, fault: Case, dice: random.Random) -> str:
    """Let a fault happen to an account for a while; returns what it was."""
    seconds = fault.narrow.get("seconds", dice.choice(LASTS_S))
    if fault.quirk == "partition-moved":
        person.account.move_partition(refuse=fault.params["refuse"])
    elif fault.quirk == "drop-tokens":
        person.account.calendar(dice.choice(CALENDARS)).contents.drop_tokens()
    elif fault.quirk == "slow":
        person.fault("slow", times=2)
    elif fault.quirk == "down":
        person.server.world.faults.set("down", seconds=min(seconds, 300))
    else:
        person.fault(fault.quirk, **{**fault.narrow, "seconds": seconds}, **fault.params)
    return f"{fault} for {seconds} s"
