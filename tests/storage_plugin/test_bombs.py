"""Objects and questions made to hold a processor: each is bounded, nobody else waits."""

import time
from datetime import timedelta

import pytest

from storage_plugin.effort import Effort
from storage_plugin.expansion import MAX_EXPANDED
from tests.storage_plugin.conftest import DAY0, at
from tests.storage_plugin.dav import C, D, event

CPU_S = 6.0
"""What one object may cost in all requests of a test; without the bounds it is minutes."""


@pytest.fixture
def world(local_world):
    """CPU time is measured in this thread."""
    return local_world


def stamps(count: int) -> list[str]:
    return [f"{DAY0 + timedelta(minutes=7 * n):%Y%m%dT%H%M%SZ}" for n in range(count)]


def exceptions() -> bytes:
    """A series of every minute with thousands of EXDATE lines, each an own line to copy around."""
    return event("x", at(9), at(10), "RRULE:FREQ=MINUTELY", *[f"EXDATE:{s}" for s in stamps(8000)])


def long_text() -> bytes:
    """A series of every minute whose text is long: expanded, it would be gigabytes."""
    return event("x", at(9), at(10), "RRULE:FREQ=MINUTELY", f"DESCRIPTION:{'x' * 800_000}")


def zones() -> bytes:
    """Thousands of overrides under a time zone that is half of the object."""
    part = (
        "BEGIN:STANDARD\r\nDTSTART:16010101T000000\r\nRRULE:FREQ=SECONDLY\r\n"
        "TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:STANDARD\r\n"
    )
    zone = f"BEGIN:VTIMEZONE\r\nTZID:Bomb\r\n{part * 3000}END:VTIMEZONE\r\n"
    overrides = "".join(
        f"BEGIN:VEVENT\r\nUID:x\r\nRECURRENCE-ID;TZID=Bomb:{s[:-1]}\r\nDTSTART:{s}\r\nEND:VEVENT\r\n"
        for s in stamps(2500)
    )
    text = event("x", at(9), at(10), "RRULE:FREQ=MINUTELY").decode()
    text = text.replace("BEGIN:VEVENT", f"{zone}BEGIN:VEVENT", 1)
    return text.replace("END:VCALENDAR", f"{overrides}END:VCALENDAR").encode()


def rules() -> bytes:
    return event("x", "19700101T000000Z", "", *["RRULE:FREQ=SECONDLY"] * 4000)


def dates() -> bytes:
    return event("x", at(9), at(10), f"RDATE:{','.join(stamps(15000))}")


def nesting() -> bytes:
    return event("x", at(9), at(10), *["BEGIN:VALARM"] * 12000, *["END:VALARM"] * 12000)


@pytest.mark.parametrize("bomb", [exceptions, long_text, zones, rules, dates, nesting])
def test_no_object_holds_a_processor(world, bomb):
    begin, body = time.thread_time(), bomb()
    assert len(body) < world.settings.max_resource_size
    path, span = f"{world.platform_path}x.ics", f'start="{at(0)}" end="{at(48)}"'
    assert world.device.put(path, body).status == 201
    assert world.device.get(path).body == body
    data = f"<c:calendar-data><c:expand {span}/></c:calendar-data>"
    answer = world.device.query(world.platform_path, f"<c:time-range {span}/>", data=data)
    assert (answer.status, answer.hrefs) == (207, [path])
    text = answer.props(path)[f"{C}calendar-data"].text
    assert len(text) <= max(len(body), MAX_EXPANDED)
    far = f'<c:time-range start="{at(0, day=3000)}" end="{at(48, day=3000)}"/>'
    assert world.device.query(world.platform_path, far, data="").status == 207
    assert world.device.freebusy(world.home, at(0), at(24, day=300)).status == 200
    assert world.device.delete(path).status == 204
    assert time.thread_time() - begin < CPU_S


@pytest.mark.parametrize("limits", [(0.0, 10**9), (60.0, 100)])
def test_a_report_that_costs_too_much_says_so(world, monkeypatch, limits):
    for n in range(3):
        body = event(str(n), at(9), at(10), "RRULE:FREQ=DAILY;COUNT=5")
        world.device.put(f"{world.platform_path}{n}.ics", body)
    span = f'start="{at(0)}" end="{at(48)}"'
    data = f"<c:calendar-data><c:expand {span}/></c:calendar-data>"

    def ask():
        return world.device.query(world.platform_path, f"<c:time-range {span}/>", data=data)

    assert len(ask().hrefs) == 3
    monkeypatch.setattr(Effort.__init__, "__defaults__", limits)
    answer = ask()
    assert (answer.status, answer.conditions) == (507, [f"{D}number-of-matches-within-limits"])
