"""Time ranges on tasks, journals and alarms: the tables of RFC 4791 9.9."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.core.recurrence.model import BusyRules
from storage_plugin.reports.expansion import expand_task
from storage_plugin.reports.timeranges import alarm_in_range, is_in_range
from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import event

ZONE = ZoneInfo("Europe/Berlin")


def stamp(text: str) -> int | None:
    """``1T10`` is the first of June 2026, 10:00 UTC."""
    if not text:
        return None
    day, _, hour = text.partition("T")
    return int(datetime(2026, 6, int(day), int(hour or 0), tzinfo=UTC).timestamp())


def holds(body: bytes, span: str, decide=is_in_range) -> bool:
    start, end = span.split("-")
    return decide(body, (stamp(start), stamp(end)), ZONE)


def component(name: str, *lines: str) -> bytes:
    parts = ["BEGIN:VCALENDAR", "VERSION:2.0", f"BEGIN:{name}", "UID:x", *lines]
    return "\r\n".join([*parts, f"END:{name}", "END:VCALENDAR", ""]).encode()


BOTH = ("DTSTART:20260602T100000Z", "DUE:20260603T100000Z")
LASTING = ("DTSTART:20260602T100000Z", "DURATION:PT2H")
STARTING = ("DTSTART;TZID=Europe/Berlin:20260602T120000",)
DUE = ("DUE:20260603T100000Z",)
DAY = ("DTSTART;VALUE=DATE:20260602", "DUE;VALUE=DATE:20260603")
DONE = ("CREATED:20260602T100000Z", "COMPLETED:20260604T100000Z")
WEEKLY = ("DUE:20260602T100000Z", "RRULE:FREQ=WEEKLY;COUNT=3")


@pytest.mark.parametrize(
    ("lines", "inside", "outside"),
    [
        (BOTH, ["1-2T11", "2T10-2T11", "3T09-4", "-3", "3-", "1-5"], ["1-2T10", "3T11-4", "-2"]),
        (LASTING, ["2T11-3", "2T12-3", "1-2T11", "-2T11", "2T12-"], ["2T13-3", "1-2T10"]),
        (STARTING, ["2T10-2T11", "1-3", "-3", "2T10-"], ["2T11-3", "1-2T10", "-2T10"]),
        (DUE, ["3T09-3T10", "2-4", "-3T10", "3T09-"], ["3T10-4", "2-3T09", "-3T09"]),
        (DAY, ["2T10-2T12", "1T22-1T23", "-2", "2-"], ["3-4", "1-1T22", "4-"]),
        (DONE, ["2T10-3", "3-4T10", "1-2T10", "-3", "3-"], ["5-6", "1-2T09", "-2T09"]),
        (DONE[1:], ["4T10-5", "3-4T10"], ["1-4T09", "4T11-6"]),
        (DONE[:1], ["2-3", "5-6", "-3"], ["1-2T10", "-2T10"]),
        ((), ["1-2", "-1", "9-"], []),
        (WEEKLY, ["2-3", "9-10", "16-17", "1-30"], ["3T11-9", "23-24", "-2"]),
        (("DTSTART:tomorrow",), ["1-2"], []),
    ],
)
def test_tasks(lines, inside, outside):
    body = component("VTODO", *lines)
    assert [span for span in inside if not holds(body, span)] == []
    assert [span for span in outside if holds(body, span)] == []


@pytest.mark.parametrize(
    ("lines", "inside", "outside"),
    [
        (("DTSTART:20260602T100000Z",), ["2T10-2T11", "1-3", "-3"], ["2T11-3", "1-2T10"]),
        (("DTSTART;VALUE=DATE:20260602",), ["2T10-2T11", "1-2"], ["3-4", "1-1T22"]),
        ((), [], ["1-2", "-9"]),
    ],
)
def test_journals(lines, inside, outside):
    body = component("VJOURNAL", *lines)
    assert [span for span in inside if not holds(body, span)] == []
    assert [span for span in outside if holds(body, span)] == []


def alarm(*lines: str) -> tuple[str, ...]:
    return ("BEGIN:VALARM", "ACTION:DISPLAY", *lines, "END:VALARM")


@pytest.mark.parametrize(
    ("more", "inside", "outside"),
    [
        (alarm("TRIGGER:-PT1H"), ["2T09-2T10", "1-3", "-3", "1-"], ["2T10-3", "1-2T09", "-2"]),
        (alarm("TRIGGER;RELATED=END:PT1H"), ["2T12-2T13"], ["2T10-2T12", "2T13-3"]),
        (alarm("TRIGGER;VALUE=DATE-TIME:20260520T100000Z"), [], ["1-3"]),
        (alarm("TRIGGER;VALUE=DATE-TIME:20260605T100000Z"), ["5T10-5T11"], ["1-3"]),
        (
            alarm("TRIGGER:-PT1H", "REPEAT:2", "DURATION:PT3H"),
            ["2T09-2T10", "2T12-2T13", "2T15-2T16"],
            ["2T10-2T12", "2T18-2T19"],
        ),
        (("RRULE:FREQ=DAILY;COUNT=3", *alarm("TRIGGER:-P1D")), ["1T10-1T11", "3-4"], ["4-9"]),
        (alarm("TRIGGER:sometime"), [], ["1-9"]),
        ((), [], ["1-9"]),
    ],
)
def test_alarms(more, inside, outside):
    body = event("x", "20260602T100000Z", "20260602T110000Z", *more)
    assert [span for span in inside if not holds(body, span, alarm_in_range)] == []
    assert [span for span in outside if holds(body, span, alarm_in_range)] == []
    task = component("VTODO", "DTSTART:20260602T100000Z", "DUE:20260602T110000Z", *more)
    assert [span for span in inside if not holds(task, span, alarm_in_range)] == []


def test_a_query_finds_tasks_by_time_beside_events(world):
    path = f"{world.home}mixed/"
    assert world.device.mkcalendar(path).status == 201
    for name, due in (("soon", at(10)), ("later", at(10, day=3)), ("old", "20190301T100000Z")):
        body = component("VTODO", f"DUE:{due}").replace(b"UID:x", f"UID:{name}".encode())
        assert world.device.put(f"{path}{name}.ics", body).status == 201
    world.device.put(f"{path}e.ics", event("e", at(9), at(10), *alarm("TRIGGER:-PT2H")))

    def found(component, span) -> list[str]:
        answer = world.device.query(path, span, component=component)
        return [href.rpartition("/")[2] for href in answer.hrefs]

    day = f'<c:time-range start="{at(0)}" end="{at(24)}"/>'
    assert found("VTODO", day) == ["soon.ics"]
    assert found("VTODO", f'<c:time-range end="{at(24)}"/>') == ["old.ics", "soon.ics"]
    assert found("VTODO", "") == ["later.ics", "old.ics", "soon.ics"]
    assert found("VEVENT", day) == ["e.ics"]
    for hour, expected in ((7, ["e.ics"]), (9, [])):
        span = f'<c:time-range start="{at(hour)}" end="{at(hour + 1)}"/>'
        ringing = f"<c:comp-filter name='VALARM'>{span}</c:comp-filter>"
        assert found("VEVENT", ringing) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (WEEKLY, ["DUE:20260609T100000Z", "RECURRENCE-ID:20260609T100000Z"]),
        (
            (*BOTH, "RRULE:FREQ=WEEKLY"),
            ["DTSTART:20260609T100000Z", "DUE:20260610T100000Z", "RECURRENCE-ID:20260609T100000Z"],
        ),
        (BOTH, ["DTSTART:20260602T100000Z", "DUE:20260603T100000Z"]),
    ],
)
def test_tasks_are_expanded_like_events(lines, expected):
    window = (stamp("2"), stamp("3")) if lines == BOTH else (stamp("9"), stamp("10"))
    text = expand_task(component("VTODO", *lines, *alarm("TRIGGER:-PT1H")), window, BusyRules(ZONE))
    found = text.splitlines()
    assert (found.count("BEGIN:VTODO"), found.count("END:VTODO")) == (1, 1)
    assert [line for line in found if line.startswith(("DT", "DUE", "REC", "RR"))] == expected
    assert "BEGIN:VALARM" in found


def test_a_task_that_cannot_be_expanded_comes_whole():
    body = component("VTODO", "DTSTART:tomorrow", "SUMMARY:x")
    assert expand_task(body, (stamp("2"), stamp("3")), BusyRules(ZONE)).encode() == body
