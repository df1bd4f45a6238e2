"""No CalDAV request parses every object of a calendar; most parse none."""

from datetime import timedelta

import pytest

from tests.parsing import parsing
from tests.storage_plugin.conftest import DAY0, at
from tests.storage_plugin.dav import event

SEEN = 3
"""Events in the month that is asked for, whatever else the calendar holds."""


def fill(world, others):
    """``SEEN`` events in the month, one of them a series, and ``others`` outside it."""
    rule = "RRULE:FREQ=WEEKLY;COUNT=3"
    for number in range(SEEN):
        lines = [rule] if number == 0 else []
        body = event(f"in-{number}", at(9, day=number), at(10, day=number), *lines)
        assert world.device.put(f"{world.platform_path}in-{number}.ics", body).status == 201
    for number in range(others):
        body = event(f"out-{number}", at(9, day=60 + number), at(10, day=60 + number))
        assert world.device.put(f"{world.platform_path}out-{number}.ics", body).status == 201


def month():
    """A month from the first event on, as attributes of a time-range."""
    start, end = DAY0, DAY0 + timedelta(days=30)
    return f'start="{start:%Y%m%dT%H%M%SZ}" end="{end:%Y%m%dT%H%M%SZ}"'


@pytest.fixture
def world(local_world):
    """The probe looks into this process."""
    return local_world


REQUESTS = {
    "ctag": lambda w, p: w.device.propfind(p, "cs:getctag", "d:sync-token"),
    "home": lambda w, p: w.device.propfind(w.home, "d:displayname", "cs:getctag", depth="1"),
    "listing": lambda w, p: w.device.propfind(p, "d:getetag", "d:getcontenttype", depth="1"),
    "query": lambda w, p: w.device.query(p, f"<c:time-range {month()}/>"),
    "multiget": lambda w, p: w.device.multiget(p, f"{p}in-0.ics", f"{p}out-0.ics"),
    "first sync": lambda w, p: w.device.sync(p),
    "get": lambda w, p: w.device.get(f"{p}in-0.ics"),
    "free-busy": lambda w, p: w.device.report(
        p,
        f'<c:free-busy-query xmlns:c="urn:ietf:params:xml:ns:caldav"><c:time-range {month()}/>'
        "</c:free-busy-query>",
    ),
    "delete": lambda w, p: w.device.delete(f"{p}out-1.ics"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_answers_from_rows_alone(world, name):
    fill(world, 4)
    with parsing() as seen:
        answer = REQUESTS[name](world, world.platform_path)
    assert (answer.status < 300, dict(seen)) == (True, {})


def test_a_sync_without_change_answers_from_rows_alone(world):
    fill(world, 4)
    token = world.device.sync(world.platform_path).xml.findtext("{DAV:}sync-token")
    with parsing() as seen:
        assert world.device.sync(world.platform_path, token).hrefs == []
    assert dict(seen) == {}


def expanded(world):
    """A query of the month with ``C:expand``."""
    data = f"<c:calendar-data><c:expand {month()}/></c:calendar-data>"
    return world.device.query(world.platform_path, f"<c:time-range {month()}/>", data=data)


def new_put(world):
    """A PUT of a new event."""
    body = event("new", at(15), at(16))
    return world.device.put(f"{world.platform_path}new.ics", body)


def changed_put(world):
    """A PUT of an event that is there."""
    body = event("in-1", at(12), at(13))
    return world.device.put(f"{world.platform_path}in-1.ics", body)


def booking(world):
    """A PUT by the platform, which checks for overlaps and queues a push."""
    body = event("booked", at(20), at(21))
    return world.platform.put(f"{world.platform_path}booked.ics", body)


def text_query(world):
    """A search for a text within the month."""
    inner = (
        f"<c:time-range {month()}/><c:prop-filter name='SUMMARY'>"
        "<c:text-match>meet</c:text-match></c:prop-filter>"
    )
    return world.device.query(world.platform_path, inner)


@pytest.mark.parametrize("request_of", [expanded, new_put, changed_put, booking, text_query])
def test_what_is_parsed_does_not_grow_with_the_calendar(world, request_of):
    fill(world, 4)
    counts = []
    with parsing() as seen:
        assert request_of(world).status in (201, 204, 207)
    counts.append(dict(seen))
    for name in ("new", "booked"):
        world.device.delete(f"{world.platform_path}{name}.ics")
    for number in range(4, 12):
        body = event(f"out-{number}", at(9, day=60 + number), at(10, day=60 + number))
        world.device.put(f"{world.platform_path}out-{number}.ics", body)
    with parsing() as seen:
        assert request_of(world).status in (201, 204, 207)
    counts.append(dict(seen))
    assert counts[0] == counts[1]
    assert 0 < counts[0]["unfold"] <= 2 * SEEN


def test_expand_parses_what_it_sends_and_nothing_else(world):
    fill(world, 8)
    with parsing() as seen:
        answer = expanded(world)
    assert len(answer.hrefs) == SEEN
    assert seen["expand"] == SEEN
    assert set(seen) == {"unfold", "tree", "expand"}
