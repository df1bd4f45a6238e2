"""Calendar objects as iCloud serves them, from a seeded generator: the same run, the same bytes.

An object carries its VTIMEZONE, an alarm or two, often attendees and a description. Of all
objects 12 % recur, 4 % have EXDATEs, 4 % a moved or renamed instance, 6 % a rule without an end;
8 % are all-day, some transparent, cancelled, tentative, travelling or in a foreign zone.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

OWNER = "anna.example@icloud.com"
ZONE = "Europe/Berlin"
_ZONES = {
    "Europe/Berlin": ("+0100", "+0200", "-1SU", "3", "-1SU", "10", "CET", "CEST"),
    "America/New_York": ("-0500", "-0400", "2SU", "3", "1SU", "11", "EST", "EDT"),
}
_TEXT = (
    "team review planning budget customer call interview lunch training quarterly roadmap design "
    "Besprechung Zahnarzt Elternabend übergabe café handover weekly retrospective onboarding"
)
_WORDS = _TEXT.split()
_NAMES = ("Chris Miller", "Dana Weber", "Eli Schmidt", "Noor Haddad", "Robin Köhler", "Sam Ito")
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEKLY = ("FREQ=WEEKLY", "FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=2", "FREQ=WEEKLY;BYDAY={two}")
_OTHER = ("FREQ=DAILY", "FREQ=MONTHLY;BYDAY=2{day}", "FREQ=MONTHLY;BYMONTHDAY=15", "FREQ=YEARLY")
_IS_WEEKLY = 0.75
_MONTHLY_OR_YEARLY = (1 - _IS_WEEKLY) * 3 / 4
"""Rules whose instances a fixed number of days does not hit: they get no EXDATE or override."""


@dataclass(frozen=True, slots=True)
class Made:
    """One calendar object: its name, UID and body."""

    name: str
    uid: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Mix:
    """How many objects, over how many days around today, and the shares of the odd ones.

    ``open_ended`` is a number of objects, so that a long history does not mean a fuller week.
    """

    count: int = 2000
    days: int = 730
    open_ended: int = 116
    recurring: float = 0.12
    exdate: float = 0.04
    overridden: float = 0.04

    @classmethod
    def history(cls, count: int) -> "Mix":
        """Return a mix as dense as the usual 2,000 objects, over a longer time."""
        return cls(count=count, days=730 * count // 2000)


def make_events(mix: Mix, *, today: date, seed: int = 20) -> list[Made]:
    """Make ``mix.count`` objects around ``today``; three quarters of them lie in the past."""
    source = random.Random(seed)
    rules = round(mix.count * mix.recurring)
    kinds = ["open"] * min(mix.open_ended, rules)
    kinds += ["ended"] * (rules - len(kinds)) + ["single"] * (mix.count - rules)
    source.shuffle(kinds)
    steady = rules * (1 - _MONTHLY_OR_YEARLY)
    exdates, overrides = mix.count * mix.exdate / steady, mix.count * mix.overridden / steady
    makers = (_Event(source, kind, mix, today, exdates, overrides) for kind in kinds)
    return [maker.make() for maker in makers]


class _Event:
    """One object in the making."""

    def __init__(
        self,
        source: random.Random,
        kind: str,
        mix: Mix,
        today: date,
        exdates: float,
        overrides: float,
    ) -> None:
        self.random = source
        self.kind = kind
        self.uid = str(uuid.UUID(int=source.getrandbits(128), version=4)).upper()
        self.zone = "America/New_York" if source.random() < 0.05 else ZONE
        self.all_day = source.random() < 0.08
        self.start = self._start(mix, today)
        self.length = timedelta(minutes=source.choice((30, 30, 45, 60, 60, 60, 90, 120, 180)))
        self.rule = self._rule(today) if kind != "single" else ""
        steady = "MONTHLY" not in self.rule and "YEARLY" not in self.rule and bool(self.rule)
        self.has_exdate = steady and source.random() < exdates
        self.has_override = steady and source.random() < overrides

    def make(self) -> Made:
        """Return the finished object."""
        parts = [
            "BEGIN:VCALENDAR",
            "CALSCALE:GREGORIAN",
            "PRODID:-//Apple Inc.//macOS 15.1//EN",
            "VERSION:2.0",
            *self._event(self.start),
        ]
        if self.has_override:
            moved = self.start + self._step() * 3
            parts += self._event(moved + timedelta(hours=2), override_of=moved)
        if not self.all_day:
            parts += _timezone(self.zone)
        lines = (folded for part in [*parts, "END:VCALENDAR"] for folded in _fold(part))
        body = "".join(f"{line}\r\n" for line in lines).encode()
        return Made(f"{self.uid}.ics", self.uid, body)

    def _start(self, mix: Mix, today: date) -> datetime:
        if self.kind == "open":
            back = self.random.randint(20, 700)
        else:
            back = self.random.randint(-mix.days // 4, mix.days * 3 // 4)
        day = today - timedelta(days=back)
        if day.weekday() > 4 and self.random.random() < 0.8:
            day -= timedelta(days=2)
        minute = self.random.choice((0, 0, 15, 30, 45))
        hour = self.random.randint(8, 18)
        return datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 - wall clock

    def _step(self) -> timedelta:
        """One step of the rule, near enough for EXDATE and RECURRENCE-ID to hit an instance."""
        return timedelta(days=14 if "INTERVAL=2" in self.rule else 7)

    def _rule(self, today: date) -> str:
        weekly = self.random.random() < _IS_WEEKLY
        pattern = self.random.choice(_WEEKLY if weekly else _OTHER)
        day = _DAYS[self.start.weekday()]
        other = _DAYS[(self.start.weekday() + 2) % 7]
        rule = pattern.format(day=day, two=f"{day},{other}")
        if self.kind == "open":
            return rule
        if self.random.random() < 0.5:
            return f"{rule};COUNT={self.random.randint(4, 30)}"
        until = self.start + timedelta(days=self.random.randint(30, 200))
        return f"{rule};UNTIL={until:%Y%m%d}" + ("" if self.all_day else "T215959Z")

    def _event(self, start: datetime, *, override_of: datetime | None = None) -> list[str]:
        pick = self.random
        lines = [
            "BEGIN:VEVENT",
            f"CREATED:{start - timedelta(days=40):%Y%m%dT%H%M%SZ}",
            f"UID:{self.uid}",
            self._moment("DTSTART", start),
            self._moment("DTEND", start + self._length()),
            f"DTSTAMP:{start - timedelta(days=30):%Y%m%dT%H%M%SZ}",
            f"LAST-MODIFIED:{start - timedelta(days=30):%Y%m%dT%H%M%SZ}",
            f"SUMMARY:{self._words(2, 6).capitalize()}",
            f"SEQUENCE:{pick.randint(0, 3)}",
            f"TRANSP:{'TRANSPARENT' if pick.random() < 0.06 or self.all_day else 'OPAQUE'}",
        ]
        if override_of is not None:
            lines.append(self._moment("RECURRENCE-ID", override_of))
        elif self.rule:
            lines.append(f"RRULE:{self.rule}")
            if self.has_exdate:
                lines.append(self._moment("EXDATE", start + self._step() * 2))
        lines += [*self._status(), *self._texts(), *self._guests(start), *self._alarms()]
        return [*lines, "END:VEVENT"]

    def _length(self) -> timedelta:
        return timedelta(days=self.random.choice((1, 1, 1, 2, 5))) if self.all_day else self.length

    def _moment(self, name: str, at: datetime) -> str:
        if self.all_day:
            return f"{name};VALUE=DATE:{at:%Y%m%d}"
        return f"{name};TZID={self.zone}:{at:%Y%m%dT%H%M%S}"

    def _status(self) -> Iterator[str]:
        chance = self.random.random()
        if chance < 0.02:
            yield "STATUS:CANCELLED"
        elif chance < 0.06:
            yield "STATUS:TENTATIVE"
        if chance > 0.97 and not self.all_day:
            yield "X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT30M"

    def _texts(self) -> Iterator[str]:
        if self.random.random() < 0.4:
            yield f"LOCATION:{self._words(1, 3).title()}\\, {self.random.randint(1, 99)}"
        if self.random.random() < 0.4:
            yield f"DESCRIPTION:{self._words(10, 60)}\\n\\n{self._words(3, 10)}."
        if self.random.random() < 0.1:
            yield "URL;VALUE=URI:https://meet.example.org/" + self.uid.lower()

    def _guests(self, start: datetime) -> Iterator[str]:
        if self.random.random() > 0.3:
            return
        stamp = f"{start - timedelta(days=30):%Y%m%dT%H%M%SZ}"
        yield (
            'ATTENDEE;CN="Anna Example";CUTYPE=INDIVIDUAL;EMAIL="'
            f'{OWNER}";PARTSTAT={self.random.choice(("ACCEPTED", "ACCEPTED", "DECLINED"))}'
            f":mailto:{OWNER}"
        )
        for number in range(self.random.randint(1, 5)):
            name = _NAMES[number]
            mail = f"{name.split()[0].lower()}@example.org"
            yield (
                f'ATTENDEE;CN="{name}";CUTYPE=INDIVIDUAL;EMAIL="{mail}";PARTSTAT=NEEDS-ACTION;'
                f'ROLE=REQ-PARTICIPANT;RSVP=TRUE;X-CALENDARSERVER-DTSTAMP="{stamp}":mailto:{mail}'
            )
        yield f'ORGANIZER;CN="Chris Miller";EMAIL="chris@example.org":mailto:{OWNER}'

    def _alarms(self) -> Iterator[str]:
        for before in ("PT15M", "P1D")[: self.random.choice((0, 1, 1, 2))]:
            identity = str(uuid.UUID(int=self.random.getrandbits(128), version=4)).upper()
            yield from ("BEGIN:VALARM", f"X-WR-ALARMUID:{identity}", f"UID:{identity}")
            yield from (f"TRIGGER:-{before}", "ATTACH;VALUE=URI:Chord", "ACTION:AUDIO")
            yield "END:VALARM"

    def _words(self, least: int, most: int) -> str:
        return " ".join(self.random.choices(_WORDS, k=self.random.randint(least, most)))


def _timezone(name: str) -> list[str]:
    standard, daylight, to_day, to_month, back_day, back_month, short, summer = _ZONES[name]
    return [
        "BEGIN:VTIMEZONE",
        f"TZID:{name}",
        f"X-LIC-LOCATION:{name}",
        "BEGIN:DAYLIGHT",
        "DTSTART:20070325T020000",
        f"RRULE:FREQ=YEARLY;BYDAY={to_day};BYMONTH={to_month}",
        f"TZNAME:{summer}",
        f"TZOFFSETFROM:{standard}",
        f"TZOFFSETTO:{daylight}",
        "END:DAYLIGHT",
        "BEGIN:STANDARD",
        "DTSTART:20071028T030000",
        f"RRULE:FREQ=YEARLY;BYDAY={back_day};BYMONTH={back_month}",
        f"TZNAME:{short}",
        f"TZOFFSETFROM:{daylight}",
        f"TZOFFSETTO:{standard}",
        "END:STANDARD",
        "END:VTIMEZONE",
    ]


def _fold(line: str) -> Iterator[str]:
    """Fold at 75 octets, between characters (RFC 5545 3.1)."""
    width, current = 0, ""
    for character in line:
        size = len(character.encode())
        if width + size > 75:
            yield current
            current, width = " ", 1
        current, width = current + character, width + size
    yield current
