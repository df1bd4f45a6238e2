"""Edits on the phone: what is stored afterwards, and that each is one change of one resource."""

import datetime as dt

import icalendar
import pytest
import recurring_ical_events

from gateway.lookalike.world.drafts import calendar, vevent
from gateway.lookalike.world.world import World

from .conftest import EMAIL, NOW

ZONE = "Europe/Berlin"


@pytest.fixture
def account():
    return World(lambda: NOW).add_account(EMAIL)


def _put(account, *lines, day=dt.date(2026, 10, 5), uid="series"):
    start = dt.datetime.combine(day, dt.time(9))
    body = vevent(uid, start, dt.timedelta(hours=1), "Course", *lines, zone=ZONE)
    return account.put("work", calendar(body, zones=[ZONE]))


def _instances(account, *calendars):
    found = []
    for name in calendars or ("work",):
        for resource in account.calendars[name].resources.values():
            parsed = icalendar.Calendar.from_ical(resource.data)
            for part in recurring_ical_events.of(parsed).between((2026, 9, 1), (2027, 3, 1)):
                found.append(part["DTSTART"].dt.strftime("%m-%d %H:%M"))
    return sorted(found)


def test_edit_sets_and_removes_properties(account):
    name = _put(account, "LOCATION:Here")
    before = account.calendars["work"].resources[name].etag
    account.phone.edit("work", name, SUMMARY="Tea", LOCATION=None)
    resource = account.calendars["work"].resources[name]
    part = icalendar.Calendar.from_ical(resource.data).events[0]
    assert (part["SUMMARY"], part.get("LOCATION"), part["SEQUENCE"]) == ("Tea", None, 1)
    assert resource.etag != before
    assert account.calendars["work"].contents.changes_since(1) == [(name, False)]


def test_reschedule_moves_a_series_with_its_exceptions(account):
    rule = "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=3"
    name = _put(account, rule, f"EXDATE;TZID={ZONE}:20261012T090000")
    account.phone.reschedule("work", name, 3600, length=7200)
    assert _instances(account) == ["10-05 10:00", "10-19 10:00"]
    part = icalendar.Calendar.from_ical(account.get("work", name)).events[0]
    assert part["DTEND"].dt - part["DTSTART"].dt == dt.timedelta(hours=2)


def test_move_and_delete_of_single_occurrences(account):
    name = _put(account, "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=4")
    account.phone.move_occurrence("work", name, "2026-10-12T09:00:00", 2 * 3600)
    account.phone.move_occurrence("work", name, "20261012T090000", 3600, SUMMARY="Late")
    account.phone.delete_occurrence("work", name, "20261019T090000")
    assert _instances(account) == ["10-05 09:00", "10-12 12:00", "10-26 09:00"]
    assert len(icalendar.Calendar.from_ical(account.get("work", name)).events) == 2
    account.phone.delete_occurrence("work", name, "20261012T090000")
    assert _instances(account) == ["10-05 09:00", "10-26 09:00"]


@pytest.mark.parametrize(
    "rule", ["FREQ=WEEKLY;BYDAY=MO;COUNT=5", "FREQ=WEEKLY;BYDAY=MO;UNTIL=20261103T000000Z"]
)
def test_split_makes_two_linked_objects(account, rule):
    name = _put(account, f"RRULE:{rule}", f"EXDATE;TZID={ZONE}:20261026T090000")
    account.phone.move_occurrence("work", name, "20261012T090000", 3600)
    new = account.phone.split_series("work", name, "20261019T090000", seconds=2 * 3600)
    assert _instances(account) == ["10-05 09:00", "10-12 10:00", "10-19 11:00", "11-02 11:00"]
    first, second = account.calendars["work"].resources.values()
    assert (first.name, second.name) == (name, new)
    assert first.uid != second.uid
    links = [
        icalendar.Calendar.from_ical(one.data).events[0]["RELATED-TO"] for one in (first, second)
    ]
    assert links[0] == links[1]


def test_split_of_all_day_and_utc_series(account):
    body = vevent("days", dt.date(2026, 10, 5), dt.timedelta(1), "Days", "RRULE:FREQ=DAILY;COUNT=4")
    account.phone.split_series("work", account.put("work", calendar(body)), "20261007", seconds=0)
    start = dt.datetime.combine(dt.date(2026, 11, 2), dt.time(9))
    body = vevent("utc", start, dt.timedelta(hours=1), "UTC", "RRULE:FREQ=DAILY;COUNT=3", zone="Z")
    name = account.put("work", calendar(body))
    account.phone.split_series("work", name, "20261103T090000", seconds=3600)
    assert _instances(account) == [
        *(f"10-0{day} 00:00" for day in (5, 6, 7, 8)),
        "11-02 09:00",
        "11-03 10:00",
        "11-04 10:00",
    ]


def test_guests_are_invited_with_a_path_as_organizer(account):
    name = _put(account)
    account.phone.add_guests("work", name, "guest@example.net")
    part = icalendar.Calendar.from_ical(account.get("work", name)).events[0]
    assert part["ORGANIZER"] == account.principal_path
    assert [str(one) for one in part["ATTENDEE"]] == [
        f"mailto:{EMAIL}",
        "mailto:guest@example.net",
    ]
    assert account.world.mails == []
    account.phone.respond("work", name, "TENTATIVE")
    part = icalendar.Calendar.from_ical(account.get("work", name)).events[0]
    assert [one.params["PARTSTAT"] for one in part["ATTENDEE"]] == ["TENTATIVE", "NEEDS-ACTION"]


def test_move_to_another_calendar_keeps_name_and_uid(account):
    name = _put(account)
    assert account.move("work", name, "home") == name
    assert _instances(account) == []
    assert _instances(account, "home") == ["10-05 09:00"]
    assert account.calendars["work"].contents.changes_since(1) == [(name, True)]
    assert account.move("home", name, "work") == name
    assert _instances(account) == ["10-05 09:00"]


def test_what_cannot_be_edited_is_refused(account):
    name = _put(account)
    with pytest.raises(ValueError, match="does not recur"):
        account.phone.split_series("work", name, "20261005T090000")
    with pytest.raises(KeyError):
        account.phone.edit("work", "nothing.ics", SUMMARY="x")
    assert account.calendars["work"].contents.revision == 1
