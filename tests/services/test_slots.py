"""Slots from stored rows: the same from memory as from the database, people, limits (R23-R27)."""

import random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.core.availability.policy import Policy
from gateway.core.availability.slots import SlotRules
from gateway.core.errors import StateConflict
from gateway.core.intervals import merge
from gateway.services.accounts.roles import set_calendar_roles
from gateway.services.availability import load_to_keep
from gateway.services.schedules.slots import SlotQuestion, Slots, find_common_slots
from gateway.store.access import principals
from gateway.store.accounts.accounts import Keyring
from gateway.store.booking import bookings, schedules
from gateway.store.engine import Database, lock_principal
from tests.services.people import DAY, HOUR, MONDAY, NOW, Person, make_person, meeting

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = (MONDAY, MONDAY + 7 * DAY)
HALF_HOURS = SlotRules(BERLIN, 1800, 1800)
MINUTES = SlotRules(BERLIN, 60, 60)


@pytest.fixture
def ann(sqlite_database: Database, keyring: Keyring) -> Person:
    """Somebody with two calendars, just synced and empty."""
    return equip(sqlite_database, keyring)


def equip(database: Database, keyring: Keyring) -> Person:
    """Make somebody with Home linked and Work as conflict calendar, both just synced."""
    person = make_person(database, keyring)
    with database.write() as session:
        set_calendar_roles(
            session,
            person.principal.id,
            linked=person.calendar["home"],
            conflicts=[person.calendar["work"]],
            now=NOW,
        )
    for name in ("home", "work"):
        person.set_calendar(name, state="ok", synced_at=NOW)
    return person


def ask(
    person: Person,
    rules: SlotRules = MINUTES,
    window: tuple[int, int] = WEEK,
    *,
    now: int = NOW,
    from_memory: bool = False,
    **policy: Any,
) -> Slots:
    """Ask for somebody's slots, from the database or from a timeline."""
    with person.database.read() as session:
        timelines = {}
        if from_memory:
            who = person.principal.id
            timelines = {who: load_to_keep(session, who, now=now)[1]}
        question = SlotQuestion(now=now, policy=Policy(**policy), timelines=timelines)
        return find_common_slots(session, [person.principal], rules, window, question)


ODD = "DTSTART;TZID=Nowhere/Odd:20261103T100000"


@pytest.mark.rule("R23", "R25")
@pytest.mark.parametrize("seed", range(4))
def test_slots_from_memory_are_those_from_the_database(ann: Person, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(12):
        lines = chance.choice([(), (), ("STATUS:TENTATIVE",), ("RRULE:FREQ=DAILY;COUNT=4",)])
        start = MONDAY + chance.randrange(-DAY, 7 * DAY, 60)
        ann.put(chance.choice(["home", "work", "platform"]), meeting(start, 0.75, *lines))
    if seed % 2:
        body = meeting(MONDAY + 2 * DAY)
        first = body.index("DTSTART")
        ann.put("home", body[:first] + ODD + body[body.index("\r\n", first) :])
    for on_unknown in ("block", "tentative", "ignore"):
        for on_tentative in ("block", "free"):
            policy = {"on_unknown": on_unknown, "on_tentative": on_tentative}
            start = MONDAY + chance.randrange(-DAY, 5 * DAY, 60)
            window = (start, start + chance.randrange(60, 2 * DAY, 60))
            slow = ask(ann, window=window, **policy)
            assert ask(ann, window=window, from_memory=True, **policy) == slow


@pytest.mark.rule("R25")
def test_memory_that_cannot_be_believed_any_more_is_not(ann: Person) -> None:
    with ann.database.read() as session:
        old = load_to_keep(session, ann.principal.id, now=NOW)[1]
    later = NOW + 3 * DAY
    with ann.database.read() as session:
        question = SlotQuestion(now=later, timelines={ann.principal.id: old})
        found = find_common_slots(session, [ann.principal], HALF_HOURS, WEEK, question)
    assert found == Slots((), False)
    with ann.database.read() as session, pytest.raises(StateConflict) as refused:
        question = SlotQuestion(later, Policy("fail"), {ann.principal.id: old})
        find_common_slots(session, [ann.principal], HALF_HOURS, WEEK, question)
    assert refused.value.code == "availability-unknown"


@pytest.mark.rule("R23")
def test_slots_and_busy_time_fill_the_window(ann: Person) -> None:
    ann.put("home", meeting(MONDAY + 9 * HOUR, 2))
    ann.put("work", meeting(MONDAY + 10 * HOUR, 3))
    found = ask(ann, window=(MONDAY, MONDAY + DAY))
    assert merge((slot.start, slot.end) for slot in found.slots) == [
        (MONDAY, MONDAY + 9 * HOUR),
        (MONDAY + 13 * HOUR, MONDAY + DAY),
    ]


def test_a_buffer_looks_beyond_the_window(ann: Person) -> None:
    ann.put("home", meeting(MONDAY + 8 * HOUR, 1))
    ann.put("home", meeting(MONDAY + 11 * HOUR, 1))
    rules = SlotRules(BERLIN, 1800, 1800, buffer_before_s=1800, buffer_after_s=1800)
    window = (MONDAY + 9 * HOUR, MONDAY + 11 * HOUR)
    starts = [slot.start - MONDAY for slot in ask(ann, rules, window).slots]
    assert starts == [9 * HOUR + 1800, 10 * HOUR]


def test_too_few_people_have_no_slots(ann: Person) -> None:
    with ann.database.read() as session:
        for people, at_least in (([], None), ([], 1), ([ann.principal], 2)):
            found = find_common_slots(
                session, people, HALF_HOURS, WEEK, SlotQuestion(now=NOW), at_least=at_least
            )
            assert found == Slots((), True)


def test_what_is_booked_before_the_window_counts_in_its_week(
    database: Database, keyring: Keyring
) -> None:
    """Appointments that are cancelled and holds that expired do not count."""
    person = equip(database, keyring)
    who = person.principal.id

    def book(start: int, status: bookings.AppointmentStatus = "confirmed") -> None:
        bookings.create_appointment(
            session,
            principal_id=who,
            object_id="none",
            title="x",
            span=(start, start + HOUR),
            status=status,
            now=NOW,
        )

    with database.write() as session:
        lock_principal(session, who)
        book(MONDAY + 9 * HOUR)
        book(MONDAY - DAY)
        book(MONDAY + DAY, "cancelled")
        span = (MONDAY + 2 * DAY, MONDAY + 2 * DAY + HOUR)
        bookings.create_hold(session, who, span, expires_at=NOW + 60, now=NOW)
    rules = SlotRules(BERLIN, 1800, 1800, limit_per_week=2)
    wednesday_on = (MONDAY + 3 * DAY, MONDAY + 14 * DAY)
    sunday_midnight = MONDAY + 7 * DAY - HOUR  # Berlin is an hour ahead
    assert ask(person, rules, wednesday_on).slots[0].start == sunday_midnight
    assert ask(person, rules, wednesday_on, now=NOW + 61).slots[0].start == wednesday_on[0]
    with database.read() as session:
        counted = schedules.booked_starts(session, [who, "p_none"], WEEK, now=NOW)
    assert counted == {who: [MONDAY + 9 * HOUR, MONDAY + 2 * DAY], "p_none": []}


def test_people_in_other_zones_share_the_hours_of_the_schedule(ann: Person) -> None:
    with ann.database.write() as session:
        kim = principals.create_principal(
            session,
            subaccount_id=ann.principal.subaccount_id,
            name="Kim",
            time_zone="Asia/Tokyo",
            now=NOW,
        )
    rules = SlotRules(BERLIN, HOUR, HOUR, weekdays=(((9 * 60, 10 * 60),),) + ((),) * 6)
    with ann.database.read() as session:
        found = find_common_slots(
            session, [kim, ann.principal], rules, WEEK, SlotQuestion(now=NOW), at_least=1
        )
    assert [(slot.start, slot.principals) for slot in found.slots] == [
        (MONDAY + 8 * HOUR, (kim.id, ann.principal.id))
    ]
