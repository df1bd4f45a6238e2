"""Both sides of an appointment, in every combination: what is decided about it (R16, R17)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.core.appointments.meaning import same_times
from gateway.core.appointments.reconcile import GUESTS, Decision, Reading, decide, parks
from gateway.core.recurrence.expand import BusyRules, default_window

TABLE = Path(__file__).with_name("reconcile.txt")

HERE = {
    "same": {},
    "text": {"summary": "Here"},
    "time": {"hour": 12},
    "both": {"summary": "Here", "hour": 12},
    "deleted": None,
}
"""What became of the appointment here since iCloud was last seen."""

THERE = {
    "same": {},
    "as sent": None,
    "text": {"summary": "There"},
    "time": {"hour": 15},
    "both": {"summary": "There", "hour": 15},
    "no length": {"end_hour": 9},
    "unknown zone": {"zone": "Mars/Olympus"},
    "unreadable": {"start": "DTSTART:soon"},
    "no event": {"kind": "VTODO"},
    "two events": {"twice": True},
    "no instance": {"more": ("RRULE:FREQ=DAILY;COUNT=1", "EXDATE:20301105T090000Z")},
}
"""What became of it in iCloud; ``as sent`` is what was sent from here last."""

WAITING = ("nothing", "put", "put in doubt", "delete")


def body(
    *,
    summary: str = "Visit",
    hour: int = 9,
    end_hour: int | None = None,
    zone: str = "",
    start: str = "",
    more: tuple[str, ...] = (),
    guests: bool = False,
    twice: bool = False,
    kind: str = "VEVENT",
) -> bytes:
    """An appointment of an hour on a day in 2030."""
    form, zulu = (f";TZID={zone}", "") if zone else ("", "Z")
    end = hour + 1 if end_hour is None else end_hour
    event = [
        f"BEGIN:{kind}",
        "UID:a",
        "DTSTAMP:20260101T000000Z",
        start or f"DTSTART{form}:20301105T{hour:02}0000{zulu}",
        f"DTEND{form}:20301105T{end:02}0000{zulu}",
        f"SUMMARY:{summary}",
        *more,
        *(("ORGANIZER:mailto:a@example.org", "ATTENDEE:mailto:b@example.org") if guests else ()),
        f"END:{kind}",
    ]
    other = [line.replace("UID:a", "UID:b").replace("T09", "T07") for line in event]
    events = [*other, *event] if twice else event
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN", *events]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def there_body(here: str, there: str, *, guests: bool) -> bytes:
    """What iCloud holds; texts that come from here are those of the appointment as it is now."""
    changes = THERE[there]
    if changes is None:
        changes = HERE[here] or {}
    return body(**changes, guests=guests)  # type: ignore[arg-type]


NOW = int(datetime(2030, 10, 1, tzinfo=UTC).timestamp())
BERLIN = ZoneInfo("Europe/Berlin")
READING = Reading(BusyRules(BERLIN, frozenset(), always_busy=True), default_window(NOW))
YEARS_BEFORE = Reading(READING.rules, default_window(NOW - 4 * 365 * 86_400))
CONTESTED = Reading(READING.rules, READING.window, contested=True)
UNUSABLE = ("no length", "unknown zone", "unreadable", "no event", "two events")


def read_table() -> Iterator[tuple[str, str, str, str]]:
    """Yield (here, there, waiting, decision) of every cell."""
    here, columns = "", []
    for line in filter(None, TABLE.read_text().splitlines()):
        first, *cells = (cell.strip() for cell in line.split("|"))
        if first.startswith("# here:"):
            here, columns = first.removeprefix("# here:").strip(), cells
        else:
            yield from ((here, first, *pair) for pair in zip(columns, cells, strict=True))


def decided(
    here: str, there: str, waiting: str, *, reading: Reading = READING, base: bytes | None = body()
) -> Decision:
    changes = HERE[here]
    local = None if changes is None else body(**changes)  # type: ignore[arg-type]
    sent = (local or body()) if waiting == "put in doubt" else None
    kind, _, guests = there.partition(" + ")
    theirs = None if kind == "deleted" else there_body(here, kind, guests=bool(guests))
    return decide(base, sent, local, theirs, waiting != "nothing", reading)


def written(decision: Decision) -> str:
    """A decision in the words of the table."""
    words = [
        "take" if decision.body is not None else "",
        "cancel" if decision.cancel else "",
        "send" if decision.send else "",
        *(f"lost:{lost.kind}/{lost.side}" for lost in decision.conflicts),
        "park" if decision.park else "",
    ]
    return " ".join(filter(None, words)) or "-"


CELLS = list(read_table())
PLACES = [cell[:3] for cell in CELLS]


def test_the_table_has_every_combination() -> None:
    kinds = [f"{kind}{more}" for kind in THERE for more in ("", " + guests")] + ["deleted"]
    assert list(product(HERE, kinds, WAITING)) == PLACES


@pytest.mark.rule("R16", "R17")
@pytest.mark.parametrize(("here", "there", "waiting", "expected"), CELLS)
def test_what_is_decided_is_in_the_table(
    here: str, there: str, waiting: str, expected: str
) -> None:
    assert written(decided(here, there, waiting)) == expected


@pytest.mark.rule("R17")
def test_the_table_holds_beyond_what_is_expanded() -> None:
    for here, there, waiting, expected in CELLS:
        decision = decided(here, there, waiting, reading=YEARS_BEFORE)
        assert (here, there, waiting, written(decision)) == (here, there, waiting, expected)


@pytest.mark.rule("R17")
@pytest.mark.parametrize(("here", "there", "waiting"), PLACES)
def test_no_side_loses_anything_without_a_trace(here: str, there: str, waiting: str) -> None:
    """What is not in the decided body, nor on its way, nor the same there, is kept as lost."""
    decision = decided(here, there, waiting)
    kind, _, guests = there.partition(" + ")
    assert decision.park == (GUESTS if guests else None)
    assert not (decision.send and (decision.park or waiting != "nothing"))
    if decision.body is not None:
        theirs = there_body(here, kind, guests=bool(guests))
        assert same_times(decision.body, theirs)
        assert b"SUMMARY:There" not in decision.body
        assert b"ATTENDEE" not in decision.body
    texts = {lost.body for lost in decision.conflicts}
    if kind in ("text", "both"):
        assert there_body(here, kind, guests=bool(guests)) in texts


@pytest.mark.rule("R17")
@pytest.mark.parametrize(("here", "there", "waiting"), PLACES)
def test_what_was_seen_before_is_no_news(here: str, there: str, waiting: str) -> None:
    """A version seen before, in this calendar or moved to another, decides nothing anew."""
    kind, _, guests = there.partition(" + ")
    if kind in ("deleted", "no instance"):  # of these there is no version that is kept
        return
    base = there_body(here, kind, guests=bool(guests))
    assert written(decided(here, there, waiting, base=base)) == ("park" if guests else "-")


@pytest.mark.rule("R17")
@pytest.mark.parametrize(("here", "there", "waiting", "expected"), CELLS)
def test_times_that_are_refused_again_and_again_are_not_answered_by_writing(
    here: str, there: str, waiting: str, expected: str
) -> None:
    decision = decided(here, there, waiting, reading=CONTESTED)
    kind, _, guests = there.partition(" + ")
    if kind in UNUSABLE and here != "deleted":
        expected = "park" if guests else "-"
    assert written(decision) == expected


@pytest.mark.rule("R17")
@pytest.mark.parametrize(("here", "there"), list(product(HERE, THERE)))
def test_what_was_never_seen_there_and_not_sent_by_us_is_nobodys_loss(
    here: str, there: str
) -> None:
    decision = decided(here, there, "nothing", base=None)
    assert {lost.kind for lost in decision.conflicts} <= {"time"}
    assert not decision.send or there in UNUSABLE


@pytest.mark.rule("R15", "R17")
def test_a_body_with_guests_is_written_over_by_nobody() -> None:
    assert (parks(body(guests=True)), parks(body()), parks(None)) == (GUESTS, None, None)
