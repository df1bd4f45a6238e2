"""Bodies of what the API makes, and careful changes to bodies somebody else made."""

import pytest

from gateway.core.appointments.body import change_event, write_event
from gateway.core.errors import StateConflict
from gateway.core.ical.objects import parse_calendar_object

NOW = 1_793_000_000
SPAN = (1_793_600_000, 1_793_603_600)


def test_a_new_event_says_what_was_asked_and_nothing_else() -> None:
    body = write_event(
        "u-1",
        SPAN,
        "Cut, colour; \\ \u00fc\nBEGIN:VALARM",
        now=NOW,
        texts={"LOCATION": "Room 5", "DESCRIPTION": "", "X-GATEWAY-KIND": "BLOCKED-SLOT"},
    )
    assert body.decode() == (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//icloud-caldav-gateway//EN\r\n"
        "BEGIN:VEVENT\r\nUID:u-1\r\nDTSTAMP:20261026T073320Z\r\nCREATED:20261026T073320Z\r\n"
        "DTSTART:20261102T061320Z\r\nDTEND:20261102T071320Z\r\n"
        "SUMMARY:Cut\\, colour\\; \\\\ \u00fc\\nBEGIN:VALARM\r\nLOCATION:Room 5\r\n"
        "X-GATEWAY-KIND:BLOCKED-SLOT\r\nSEQUENCE:0\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    assert parse_calendar_object(body).uid == "u-1"


THEIRS = (
    "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Phone//EN\nBEGIN:VEVENT\nUID:u-2\nSEQUENCE:4\n"
    "DTSTAMP:20260101T000000Z\nDTSTART;TZID=Europe/Berlin:20261101T100000\nDURATION:PT1H\n"
    "SUMMARY;LANGUAGE=de:Alt und sehr\n  lang\nX-OWN:kept\nBEGIN:VALARM\nACTION:DISPLAY\n"
    "TRIGGER:-PT15M\nDURATION:PT5M\nSUMMARY:ring\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n"
)


def test_a_move_keeps_everything_but_the_time() -> None:
    changed = change_event(THEIRS.encode(), now=NOW, span=SPAN).decode()
    assert changed == (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Phone//EN\r\nBEGIN:VEVENT\r\nUID:u-2\r\n"
        "SUMMARY;LANGUAGE=de:Alt und sehr lang\r\nX-OWN:kept\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\n"
        "TRIGGER:-PT15M\r\nDURATION:PT5M\r\nSUMMARY:ring\r\nEND:VALARM\r\n"
        "DTSTAMP:20261026T073320Z\r\nLAST-MODIFIED:20261026T073320Z\r\nSEQUENCE:5\r\n"
        "DTSTART:20261102T061320Z\r\nDTEND:20261102T071320Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )


def test_a_new_title_keeps_the_time() -> None:
    changed = change_event(THEIRS.encode(), now=NOW, title="Neu").decode()
    lines = changed.split("\r\n")
    assert [line for line in lines if line.startswith(("DTSTART", "DURATION", "SUMMARY"))] == [
        "DTSTART;TZID=Europe/Berlin:20261101T100000",
        "DURATION:PT1H",
        "DURATION:PT5M",
        "SUMMARY:ring",
        "SUMMARY:Neu",
    ]


@pytest.mark.parametrize("line", ["RRULE:FREQ=DAILY", "RDATE:20261105T090000Z"])
def test_the_time_of_a_series_is_not_changed_but_its_title_is(line: str) -> None:
    series = THEIRS.replace("X-OWN:kept", line).encode()
    with pytest.raises(StateConflict) as refused:
        change_event(series, now=NOW, span=SPAN)
    assert refused.value.code == "appointment-recurring"
    assert line in change_event(series, now=NOW, title="Neu").decode()


def test_the_rules_of_a_time_zone_make_no_series() -> None:
    zone = (
        "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nBEGIN:STANDARD\nDTSTART:19701025T030000\n"
        "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n"
        "END:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT"
    )
    changed = change_event(
        THEIRS.replace("BEGIN:VEVENT", zone, 1).encode(), now=NOW, span=SPAN
    ).decode()
    assert "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\n" in changed
    assert "DTSTART:20261102T061320Z\r\nDTEND:20261102T071320Z\r\nEND:VEVENT" in changed
