"""The demo data: enough of it, readable by a strict parser, the same on every run of a day."""

import itertools
import re

import icalendar

from gateway.lookalike.seed import seed_demo
from gateway.lookalike.world.world import World

from .conftest import NOW


def _seeded():
    world = World(lambda: NOW)
    return world, seed_demo(world)


def _texts(account, calendar):
    return [one.data.decode() for one in account.calendar(calendar).resources.values()]


def test_each_account_has_full_calendars():
    world, people = _seeded()
    assert [person.email for person in people] == ["robin@example.com", "sam@example.com"]
    for person in people:
        account = world.account(person.email)
        assert account.app_passwords == {person.app_password}
        assert 150 <= sum(len(one.resources) for one in account.calendars.values()) <= 300
        assert all(account.calendar(name).resources for name in ("home", "work", "Family"))


def test_every_kind_of_event_is_there():
    world, people = _seeded()
    for person in people:
        text = "".join(
            itertools.chain(*(_texts(world.account(person.email), c) for c in ("home", "work")))
        ).replace("\r\n ", "")
        for needle in (
            "EXDATE;TZID=",
            "RECURRENCE-ID;TZID=",
            "STATUS:TENTATIVE",
            "STATUS:CANCELLED",
            "PARTSTAT=DECLINED",
            "X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT",
            "TRANSP:TRANSPARENT",
            "TRANSP:OPAQUE",
            "DTSTART;VALUE=DATE:",
            "RELTYPE=X-CALENDARSERVER-RECURRENCE-SET",
            "TZID=Europe/London",
            "BEGIN:VALARM",
        ):
            assert needle in text, needle


def test_every_body_is_sound():
    world, people = _seeded()
    for person in people:
        for calendar in world.account(person.email).calendars.values():
            for resource in calendar.resources.values():
                parsed = icalendar.Calendar.from_ical(resource.data)
                assert [error for part in parsed.walk() for error in part.errors] == []
                named = set(re.findall(rb"TZID=([^:;]+)[:;]", resource.data))
                defined = set(re.findall(rb"\nTZID:([^\r]+)", resource.data))
                assert named == defined
                assert len(resource.uid) == 36


def test_two_runs_are_equal():
    first, second = _seeded()[0], _seeded()[0]
    for email, account in first.accounts.items():
        twin = second.account(email)
        for calendar in ("home", "work", "Family", "Club fixtures"):
            assert _texts(account, calendar) == _texts(twin, calendar)
