"""From upstream bytes to what is stored: served, kept, or unknown."""

from zoneinfo import ZoneInfo

import pytest

from gateway.core.recurrence.model import BusyRules
from gateway.core.status import FBType
from gateway.expansion.prepare import MirrorRules, RawObject, prepare_mirrored

HOUR = 3600
START = 1_795_000_000 // HOUR * HOUR
WINDOW = (START - 30 * 86_400, START + 400 * 86_400)
RULES = MirrorRules(window=WINDOW, busy=BusyRules(ZoneInfo("UTC"), frozenset()), detail="full")


def _event(uid: str | None, hour: int) -> str:
    return "\r\n".join(
        [
            "BEGIN:VEVENT",
            *([f"UID:{uid}"] if uid else []),
            "DTSTAMP:20261101T000000Z",
            f"DTSTART:20261120T{hour:02}0000Z",
            f"DTEND:20261120T{hour + 1:02}0000Z",
            "END:VEVENT",
        ]
    )


def _body(*events: str) -> bytes:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *events, "END:VCALENDAR", ""]).encode()


@pytest.mark.rule("R9", "R25")
@pytest.mark.parametrize(
    ("body", "spans"),
    [
        (_body(_event("a", 9), _event("b", 14)), 2),
        (_body(_event(None, 9)), 1),
        (_body(_event("a", 9), _event("a", 14)), 2),
    ],
    ids=["two UIDs", "no UID", "two masters"],
)
def test_what_no_client_could_be_given_still_blocks_where_it_is(body: bytes, spans: int) -> None:
    """RFC 4791 4.1 forbids such resources; their times are clear all the same."""
    ready = prepare_mirrored(RawObject("x.ics", '"e"', body), RULES)
    assert (ready.served, ready.raw) == (False, body)
    assert [problem.code for problem in ready.expansion.problems] == ["not-servable"]
    assert [row.fbtype for row in ready.expansion.instances] == [FBType.BUSY] * spans


@pytest.mark.rule("R25")
@pytest.mark.parametrize("body", [b"", b"hello", b"<!doctype html><title>Sign in</title>"])
def test_what_is_no_calendar_is_kept_and_told_and_blocks_nothing(body: bytes) -> None:
    """It has no readable time, so it cannot be placed (docs/busy-time.md)."""
    ready = prepare_mirrored(RawObject("x.ics", '"e"', body), RULES)
    assert (ready.served, ready.raw) == (False, body)
    assert [problem.code for problem in ready.expansion.problems] == ["not-icalendar"]
    assert ready.expansion.instances == ()
