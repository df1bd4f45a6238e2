"""calendar-availability on the calendar home: written, read, refused, seen by schedules."""

from zoneinfo import ZoneInfo

import pytest

from gateway.core.availability.hours import Week
from gateway.store.booking.working_hours import find_week, put_week
from tests.storage_plugin.conftest import now
from tests.storage_plugin.dav import C

OFFICE = (((9 * 60, 17 * 60),),) * 5 + ((),) * 2
BODY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//EN
BEGIN:VAVAILABILITY
UID:0428C7D2
DTSTAMP:20111005T133225Z
BEGIN:AVAILABLE
UID:34EDA59B
SUMMARY:Office &amp; more
DTSTART;TZID=America/Montreal:20111002T090000
DTEND;TZID=America/Montreal:20111002T170000
RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR
END:AVAILABLE
END:VAVAILABILITY
END:VCALENDAR
"""
NAME = "c:calendar-availability"
CS = 'xmlns:cs="http://calendarserver.org/ns/"'


def setting(body: str, name: str = NAME) -> str:
    return f"<d:set><d:prop><{name} {CS}>{body}</{name.split()[0]}></d:prop></d:set>"


def ask(world, tag: str = NAME) -> str | None:
    """The property's text, None when it is not there."""
    answer = world.device.propfind(world.home, f"{tag} {CS}")
    return next((found.text for found in answer.props(world.home).values()), None)


def stored(world):
    with world.database.read() as session:
        return find_week(session, world.principal_id)


@pytest.mark.parametrize("name", [NAME, "cs:calendar-availability"])
def test_a_client_sets_the_hours_and_reads_back_what_it_wrote(world, name):
    assert ask(world) is None
    answer = world.device.proppatch(world.home, setting(BODY, name))
    assert list(answer.statuses(world.home).values()) == [200]
    assert stored(world).week == Week(ZoneInfo("America/Montreal"), OFFICE)
    assert ask(world) == ask(world, "cs:calendar-availability") == BODY.replace("&amp;", "&")


def test_hours_set_by_the_api_are_rendered(world):
    week = Week(ZoneInfo("Europe/Berlin"), OFFICE)
    with world.database.write() as session:
        put_week(session, world.principal_id, week, now=now())
    lines = ask(world).splitlines()
    assert "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR" in lines
    assert "DTSTART;TZID=Europe/Berlin:20240101T090000" in lines
    escaped = ask(world).replace("&", "&amp;")
    assert world.device.proppatch(world.home, setting(escaped)).status == 207
    assert stored(world).week == week


def test_removing_the_property_removes_the_hours(world):
    world.device.proppatch(world.home, setting(BODY))
    gone = f"<d:remove><d:prop><{NAME}/></d:prop></d:remove>"
    for _ in range(2):
        assert list(world.device.proppatch(world.home, gone).statuses(world.home).values()) == [200]
    assert stored(world) is None


def test_what_says_more_than_a_week_is_refused_and_changes_nothing(world):
    world.device.proppatch(world.home, setting(BODY))
    before = stored(world)
    for body in (BODY.replace("WEEKLY", "MONTHLY"), "nonsense", "", BODY + " " * 70_000):
        answer = world.device.proppatch(world.home, setting(body))
        assert (answer.status, answer.conditions) == (403, [f"{C}valid-calendar-data"])
        assert "These working hours" in answer.text
    assert stored(world) == before


def test_other_properties_of_the_home_stay_protected(world):
    mixed = setting(BODY) + "<d:set><d:prop><d:displayname>x</d:displayname></d:prop></d:set>"
    answer = world.device.proppatch(world.home, mixed)
    assert answer.statuses(world.home) == {
        "{DAV:}displayname": 403,
        f"{C}calendar-availability": 424,
    }
    assert stored(world) is None


def test_calendars_and_the_outbox_have_no_hours(world):
    for path in (world.platform_path, f"{world.home}outbox/"):
        answer = world.device.propfind(path, NAME)
        assert list(answer.statuses(path).values()) == [404]
    answer = world.device.proppatch(f"{world.home}outbox/", setting(BODY))
    assert list(answer.statuses(f"{world.home}outbox/").values()) == [403]
    answer = world.device.proppatch(world.platform_path, setting(BODY))
    assert list(answer.statuses(world.platform_path).values()) == [403]
    assert stored(world) is None
