"""Demo accounts with calendars of ordinary, busy people, always current.

Everything is drawn from a fixed random sequence per person and laid around the world's present
day, so two runs on one day give the same calendars.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from gateway.lookalike.world.drafts import (
    alarm,
    calendar,
    guest,
    organizer,
    place,
    stable_uid,
    travel,
    vevent,
    when,
)
from gateway.lookalike.world.world import Account, World

_BACK, _AHEAD = 30, 120


@dataclass(frozen=True)
class DemoAccount:
    """One seeded account and a fresh app-specific password for it; ``zone`` is IANA."""

    email: str
    name: str
    zone: str
    app_password: str


@dataclass
class _Person:
    account: Account
    zone: str
    today: date
    dice: random.Random
    taken: dict[date, list[tuple[int, int]]] = field(default_factory=dict)

    def uid(self, *parts: object) -> str:
        return stable_uid(self.account.email, *parts)

    def at(self, day: date, hour: int, minute: int = 0) -> datetime:
        return datetime.combine(day, time(hour, minute))

    def next_weekday(self, weekday: int, weeks: int = 0) -> date:
        """Return the given weekday (Monday is 0) of the present week, some weeks on."""
        return self.today - timedelta(days=self.today.weekday() - weekday) + timedelta(weeks=weeks)

    def reserve(self, day: date, minute: int, length: int) -> bool:
        """Take minutes of a day for a one-off event unless they are taken."""
        taken = self.taken.setdefault(day, [])
        if any(minute < end and start < minute + length for start, end in taken):
            return False
        taken.append((minute, minute + length))
        return True


_PEOPLE = (
    ("robin@example.com", "Robin Marlow", "Europe/Berlin", 11),
    ("sam@example.com", "Sam Okafor", "America/New_York", 23),
)
_GUESTS = (
    ("ines@example.net", "Ines Vogt"),
    ("paolo@example.net", "Paolo Ricci"),
    ("mei@example.org", "Mei Tanaka"),
    ("ola@example.org", "Ola Berg"),
)
_MEETINGS = (
    "Customer call",
    "Design review",
    "Interview",
    "Budget check",
    "Contract questions",
    "Roadmap",
    "Onboarding",
    "Supplier meeting",
    "Workshop preparation",
    "Incident follow-up",
)
_ERRANDS = (
    "Dentist",
    "Haircut",
    "Car service",
    "Parents' evening",
    "Parcel pickup",
    "Physiotherapy",
    "Vet",
    "Bank appointment",
)
_PLACES = (("Harbour Street 4", 53.54, 9.98), ("Museum Square 1", 48.13, 11.58))


def seed_demo(world: World) -> list[DemoAccount]:
    """Create the demo accounts around the world's present day; return them with passwords."""
    return [_seed_person(world, email, name, zone, number) for email, name, zone, number in _PEOPLE]


def _seed_person(world: World, email: str, name: str, zone: str, number: int) -> DemoAccount:
    account = world.add_account(email, name=name)
    account.aliases.add(email.replace("@example.com", ".alias@example.com"))
    today = datetime.fromtimestamp(world.now(), UTC).date()
    person = _Person(account, zone, today, random.Random(number))  # noqa: S311 - demo data
    for calendar_id, makers in _LAYOUT.items():
        for make in makers:
            for data in make(person):
                account.put(calendar_id, data)
    world.notifications.clear()
    return DemoAccount(email, name, zone, account.issue_app_password())


# -- series ------------------------------------------------------------------------------------


def _stand_up(person: _Person) -> Iterator[bytes]:
    """Every working day, with a skipped, a moved and a cancelled instance."""
    uid, zone = person.uid("stand-up"), person.zone
    first = person.next_weekday(0, -20)
    series = vevent(
        uid,
        person.at(first, 9, 15),
        timedelta(minutes=15),
        "Stand-up",
        "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
        *(when("EXDATE", person.at(person.next_weekday(4, week), 9, 15), zone) for week in (0, 2)),
        zone=zone,
    )
    series.children.append(alarm(uid, 5))
    moved_from, cancelled = person.next_weekday(2, 1), person.next_weekday(3, 1)
    moved = vevent(
        uid,
        person.at(moved_from, 11, 0),
        timedelta(minutes=30),
        "Stand-up (later today)",
        when("RECURRENCE-ID", person.at(moved_from, 9, 15), zone),
        zone=zone,
    )
    gone = vevent(
        uid,
        person.at(cancelled, 9, 15),
        timedelta(minutes=15),
        "Stand-up",
        when("RECURRENCE-ID", person.at(cancelled, 9, 15), zone),
        "STATUS:CANCELLED",
        zone=zone,
    )
    yield calendar(series, moved, gone, zones=[zone])


def _series(
    title: str, rule: str, weekday: int, hour: int, minutes: int, *lines: str, weeks: int = -12
) -> Callable[[_Person], Iterator[bytes]]:
    def make(person: _Person) -> Iterator[bytes]:
        start = person.at(person.next_weekday(weekday, weeks), hour)
        length = timedelta(minutes=minutes)
        uid = person.uid(title)
        body = vevent(uid, start, length, title, f"RRULE:{rule}", *lines, zone=person.zone)
        yield calendar(body, zones=[person.zone])

    return make


def _all_hands(person: _Person) -> Iterator[bytes]:
    """Return a monthly series of another office: London time, whatever the person's own zone."""
    second_tuesday = next(day for day in _month(person.today) if day.weekday() == 1 and day.day > 7)
    start = person.at(second_tuesday, 15)
    uid, length = person.uid("all-hands"), timedelta(hours=1)
    rule = "RRULE:FREQ=MONTHLY;BYDAY=2TU;COUNT=24"
    body = vevent(uid, start, length, "All hands (London)", rule, zone="Europe/London")
    yield calendar(body, zones=["Europe/London"])


def _month_end(person: _Person) -> Iterator[bytes]:
    """Return the last working day of every month."""
    last = [day for day in _month(person.today) if day.weekday() < 5][-1]
    rule = "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"
    uid, start = person.uid("month-end"), person.at(last, 15)
    body = vevent(uid, start, timedelta(hours=1), "Month end", rule, zone=person.zone)
    yield calendar(body, zones=[person.zone])


def _month(today: date) -> list[date]:
    """Every day of the month three months ago."""
    last = today
    for _ in range(3):
        last = last.replace(day=1) - timedelta(days=1)
    return [last.replace(day=number) for number in range(1, last.day + 1)]


def _split_series(person: _Person) -> Iterator[bytes]:
    """Return a course that was moved to another hour: two series linked by RELATED-TO."""
    zone, link = person.zone, person.uid("course", "set")
    related = f"RELATED-TO;RELTYPE=X-CALENDARSERVER-RECURRENCE-SET:{link}"
    cut = person.next_weekday(1, 2)
    until = datetime.combine(cut - timedelta(days=1), time(22), UTC)
    for part, day, hour, rule in (
        ("old", person.next_weekday(1, -10), 18, f";UNTIL={until:%Y%m%dT%H%M%SZ}"),
        ("new", cut, 19, ""),
    ):
        text = f"RRULE:FREQ=WEEKLY;BYDAY=TU{rule}"
        start, length = person.at(day, hour), timedelta(minutes=90)
        uid = person.uid("course", part)
        yield calendar(
            vevent(uid, start, length, "Language course", text, related, zone=zone), zones=[zone]
        )


# -- single events -----------------------------------------------------------------------------


def _meetings(person: _Person) -> Iterator[bytes]:
    """Meetings on working days, some tentative, some with a place and travel time."""
    for offset in range(-_BACK, _AHEAD):
        day = person.today + timedelta(days=offset)
        if day.weekday() >= 5:
            continue
        for _ in range(person.dice.choice((0, 1, 1, 2))):
            data = _meeting(person, day)
            if data is not None:
                yield data


def _meeting(person: _Person, day: date) -> bytes | None:
    dice = person.dice
    minute, length = dice.randrange(10 * 60, 17 * 60, 30), dice.choice((30, 45, 60, 60, 90))
    title = dice.choice(_MEETINGS)
    if not person.reserve(day, minute, length):
        return None
    lines: list[str] = []
    if dice.random() < 0.12:
        lines += ["STATUS:TENTATIVE"]
    if dice.random() < 0.15:
        lines += place(*dice.choice(_PLACES)) + travel(dice.choice((15, 30, 45)))
    if dice.random() < 0.3:
        lines.append(f"DESCRIPTION:Notes for {title.lower()}\\, second line\\nThird line.")
    uid = person.uid("meeting", day, minute)
    start = person.at(day, minute // 60, minute % 60)
    body = vevent(uid, start, timedelta(minutes=length), title, *lines, zone=person.zone)
    if dice.random() < 0.5:
        body.children.append(alarm(uid))
    return calendar(body, zones=[person.zone])


def _invitations(person: _Person) -> Iterator[bytes]:
    """Other people's meetings in every state of answer."""
    for number, partstat in enumerate(("DECLINED", "TENTATIVE", "NEEDS-ACTION", "ACCEPTED") * 4):
        day = person.next_weekday(number % 5, number // 4)
        minute = 8 * 60 + 30 * (number % 3)
        host, host_name = _GUESTS[number % len(_GUESTS)]
        lines = [
            organizer(host, host_name),
            guest(host, host_name, "ACCEPTED"),
            guest(person.account.email, person.account.name, partstat),
        ]
        uid = person.uid("invitation", number)
        start = person.at(day, minute // 60, minute % 60)
        title = f"{person.dice.choice(_MEETINGS)} with {host_name}"
        body = vevent(uid, start, timedelta(minutes=30), title, *lines, zone=person.zone)
        yield calendar(body, zones=[person.zone])


def _errands(person: _Person) -> Iterator[bytes]:
    """Private appointments, most with travel time."""
    for offset in range(-_BACK, _AHEAD, 3):
        day = person.today + timedelta(days=offset + person.dice.randrange(3))
        minute = person.dice.choice((8, 12, 17, 18, 19)) * 60
        if not person.reserve(day, minute, 60):
            continue
        lines = travel(20) if person.dice.random() < 0.5 else []
        uid, title = person.uid("errand", offset), person.dice.choice(_ERRANDS)
        body = vevent(
            uid,
            person.at(day, minute // 60),
            timedelta(hours=1),
            title,
            *lines,
            zone=person.zone,
        )
        yield calendar(body, zones=[person.zone])


def _all_day(person: _Person) -> Iterator[bytes]:
    """Birthdays (free), a holiday (busy), reminders for the day without TRANSP."""
    for number, (_, name) in enumerate(_GUESTS):
        day = person.today + timedelta(days=9 + 17 * number)
        born = day.replace(year=day.year - 30, day=min(day.day, 28))
        lines = ("RRULE:FREQ=YEARLY", "TRANSP:TRANSPARENT")
        uid = person.uid("birthday", name)
        yield calendar(vevent(uid, born, timedelta(days=1), f"Birthday of {name}", *lines))
    leave = person.next_weekday(0, 5)
    uid = person.uid("leave")
    yield calendar(vevent(uid, leave, timedelta(days=5), "On leave", "TRANSP:OPAQUE"))
    for number in range(3):
        day = person.today + timedelta(days=4 + 11 * number)
        yield calendar(vevent(person.uid("bins", number), day, timedelta(days=1), "Bins out"))


def _flight(person: _Person) -> Iterator[bytes]:
    """Return a flight that starts in one zone and ends in another."""
    other = "America/New_York" if person.zone == "Europe/Berlin" else "Europe/Berlin"
    day = person.next_weekday(3, 3)
    body = vevent(
        person.uid("flight"), person.at(day, 10), timedelta(hours=1), "Flight", zone=person.zone
    )
    landing = person.at(day, 13) if other == "America/New_York" else person.at(day, 23, 30)
    body.set_line(when("DTEND", landing, other))
    yield calendar(body, zones=[person.zone, other])


def _floating(person: _Person) -> Iterator[bytes]:
    """Return a morning walk at the same wall time wherever the person is."""
    start = person.at(person.next_weekday(5, -4), 7)
    rule = "RRULE:FREQ=WEEKLY;BYDAY=SA,SU"
    yield calendar(vevent(person.uid("walk"), start, timedelta(minutes=45), "Walk", rule))


def _club(person: _Person) -> Iterator[bytes]:
    """Fixtures of a club, in a calendar that can only be read."""
    for week in range(-4, 14):
        start = person.at(person.next_weekday(5, week), 15)
        uid, title = person.uid("match", week), "Home match" if week % 2 else "Away match"
        yield calendar(
            vevent(uid, start, timedelta(hours=2), title, zone=person.zone), zones=[person.zone]
        )


_LAYOUT: dict[str, tuple[Callable[[_Person], Iterator[bytes]], ...]] = {
    "work": (
        _stand_up,
        _all_hands,
        _series("Planning", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", 0, 10, 90),
        _series("One-to-one", "FREQ=WEEKLY;BYDAY=TH", 3, 16, 30),
        _series("Focus time", "FREQ=WEEKLY;BYDAY=WE", 2, 13, 120, "STATUS:TENTATIVE"),
        _month_end,
        _meetings,
        _invitations,
        _flight,
    ),
    "home": (
        _series("Gym", "FREQ=WEEKLY;BYDAY=MO,TH;COUNT=60", 0, 19, 75),
        _split_series,
        _errands,
        _all_day,
        _floating,
    ),
    "Family": (
        _series("Swimming lesson", "FREQ=WEEKLY;BYDAY=WE", 2, 16, 60),
        _series("Family dinner", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", 6, 18, 120),
    ),
    "Club fixtures": (_club,),
}
