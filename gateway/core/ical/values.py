"""iCalendar values that carry time: DATE, DATE-TIME, PERIOD, DURATION, UTC-OFFSET.

A *wall* time is an int: the seconds from 1970-01-01 00:00 to the clock face as written, read as if
it were UTC. Turning a wall time into an instant is the business of :mod:`gateway.core.ical.zones`.
"""

import re
import time
from collections.abc import Callable
from datetime import MAXYEAR, date
from enum import Enum
from typing import NamedTuple, TypeVar

from gateway.core.ical.lines import Property, with_last_colon

T = TypeVar("T")

DAY = 86_400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# Basic ISO 8601 as iCalendar wants it, and the extended form that some writers use.
_DATE = re.compile(r"(\d{4})(-?)(\d\d)\2(\d\d)[Zz]?$")
_DATE_TIME = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[Tt]|[Tt]?[ ]+)(\d\d):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?"
    r"(?:([Zz])|([+-]\d\d:?\d\d))?$"
)
_SOME_DATE = re.compile(r"[^\d+-]*(\d{4})(-?)(\d\d)\2(\d\d)(?!\d)")
# RFC 5545 wants a T before hours, once, and units in order; what can be read one way only is read.
_DURATION = re.compile(r"([+-])?P((?:T?\d{1,9}(?:[.,]\d{1,3})?[WDHMS])+)T?$", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:[.,]\d+)?)([WDHMS])", re.IGNORECASE)
_SECONDS = {"H": 3600, "M": 60, "S": 1}
MAX_DAYS = 7_000_000
"""Longer ago than there are dates."""
_OFFSET = re.compile(r"([+\N{MINUS SIGN}-]?)(\d{1,2}):?(\d\d):?(\d\d)?$")
_NOISE = ' \t,;"'
"""What stands around a value without meaning anything: a trailing comma, a quote."""


class Form(Enum):
    """How a time was written."""

    DATE = "date"
    UTC = "utc"
    FLOATING = "floating"
    ZONED = "zoned"


class Moment(NamedTuple):
    """A DATE or DATE-TIME as written: wall seconds, form, and the TZID when there is one."""

    wall: int
    form: Form
    tzid: str | None = None

    @property
    def day(self) -> int:
        """Days since 1970-01-01 on the clock face as written."""
        return self.wall // DAY


class Length(NamedTuple):
    """A duration: ``days`` are nominal, ``seconds`` exact (RFC 5545 3.3.6)."""

    days: int
    seconds: int


class Period(NamedTuple):
    """A PERIOD: a start and either an end or a duration (RFC 5545 3.3.9)."""

    start: Moment
    end: Moment | Length


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; raises ValueError for a date that does not exist."""
    return date(year, month, day).toordinal() - _EPOCH_ORDINAL


def date_of(day: int) -> date:
    """Return the date of a day number; raises ValueError or OverflowError beyond year 9999."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def parse_moment(value: str, tzid: str | None = None, *, as_date: bool = False) -> Moment:
    """Read one DATE or DATE-TIME; raises ValueError.

    ``tzid`` is ignored for a UTC value (RFC 5545 3.2.19) and for a DATE. ``as_date`` says that
    ``VALUE=DATE`` was declared: a midnight written as DATE-TIME is then a DATE. Forgiven, because
    it can be read in one way only: missing seconds, a DATE that ends in Z, 24:00 for the next
    midnight, the punctuation of ISO 8601 (``2026-12-01T10:00:00+01:00``), a trailing comma.
    """
    text = value.strip(_NOISE)
    if match := _DATE.match(text):
        return Moment(day_number(int(match[1]), int(match[3]), int(match[4])) * DAY, Form.DATE)
    match = _DATE_TIME.match(text)
    if match is None:
        raise ValueError("neither a date nor a date with time")
    hour, minute, second = int(match[4]), int(match[5]), int(match[6] or 0)
    if minute > 59 or second > 60 or hour * 3600 + minute * 60 > DAY:
        raise ValueError("no such time of day")
    wall = day_number(int(match[1]), int(match[2]), int(match[3])) * DAY
    wall += hour * 3600 + minute * 60 + second
    if as_date and wall % DAY == 0:
        return Moment(wall, Form.DATE)
    if match[7]:
        return Moment(wall, Form.UTC)
    if match[8]:
        return Moment(wall - parse_offset(match[8]), Form.UTC)
    if tzid is None:
        return Moment(wall, Form.FLOATING)
    return Moment(wall, Form.ZONED, tzid)


def date_in(value: str) -> int | None:
    """Return the day number of the date that a text begins with, None when it begins with none.

    For values that are no time: ``20261201T990000`` still names its day.
    """
    match = _SOME_DATE.match(value)
    if match is None:
        return None
    try:
        return day_number(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def parse_duration(value: str) -> Length:
    """Read a DURATION; raises ValueError. A negative one has negative parts.

    Forgiven: a T that is missing or comes twice (``P3600S``, ``PT0DT1H``; months do not exist here,
    so M is minutes), units in another order, fractions.
    """
    match = _DURATION.match(value.strip(_NOISE))
    if match is None:
        raise ValueError("not a duration")
    parts = _PART.findall(match[2].upper())
    amounts = {unit: float(number.replace(",", ".")) for number, unit in parts}
    if len(amounts) < len(parts):
        raise ValueError("a duration that names a unit twice")
    days, rest = divmod(amounts.get("W", 0.0) * 7 + amounts.get("D", 0.0), 1)
    if days > MAX_DAYS:
        raise ValueError("a duration beyond all dates")
    seconds = rest * DAY + sum(amounts.get(unit, 0.0) * size for unit, size in _SECONDS.items())
    sign = -1 if match[1] == "-" else 1
    return Length(sign * int(days), sign * round(seconds))


def parse_period(value: str, tzid: str | None = None) -> Period:
    """Read a PERIOD; raises ValueError."""
    first, slash, second = value.partition("/")
    if not slash:
        raise ValueError("not a period")
    start = parse_moment(first, tzid)
    if second.strip()[:1] in ("P", "p", "+", "-"):
        return Period(start, parse_duration(second))
    end = parse_moment(second, tzid)
    if start.form is Form.UTC and end.form is Form.FLOATING:
        end = end._replace(form=Form.UTC)  # an end without zone is on the clock of its start
    return Period(start, end)


def parse_offset(value: str) -> int:
    """Read a UTC-OFFSET in seconds, east positive; raises ValueError.

    Without a sign it is east; a colon is forgiven.
    """
    match = _OFFSET.match(value.strip(_NOISE))
    if match is None:
        raise ValueError("not an offset from UTC")
    seconds = int(match[2]) * 3600 + int(match[3]) * 60 + int(match[4] or 0)
    if seconds > 26 * 3600:
        raise ValueError("an offset from UTC of more than a day")
    return seconds if match[1] in ("", "+") else -seconds


def moment_of(prop: Property) -> Moment:
    """Return the single time of DTSTART, DTEND, RECURRENCE-ID and the like; raises ValueError."""
    return _with_colon_repair(prop, _one_moment)


def moments_of(prop: Property) -> list[Moment | Period]:
    """Return the list of an EXDATE or RDATE; empty items are skipped; raises ValueError."""
    return _with_colon_repair(prop, _many_moments)


def readable_moments(prop: Property) -> tuple[list[Moment | Period], list[str]]:
    """Return the readable items of an EXDATE, RDATE or FREEBUSY, and the text of the others."""
    try:
        return moments_of(prop), []
    except (ValueError, OverflowError):
        pass
    read: list[Moment | Period] = []
    junk: list[str] = []
    for item in prop.value.split(","):
        try:
            read += moments_of(prop._replace(value=item))
        except (ValueError, OverflowError):
            junk.append(item)
    return read, junk


def _one_moment(prop: Property) -> Moment:
    as_date = (prop.parameter("VALUE") or "").upper() == "DATE"
    return parse_moment(prop.value, prop.parameter("TZID"), as_date=as_date)


def _many_moments(prop: Property) -> list[Moment | Period]:
    as_date = (prop.parameter("VALUE") or "").upper() == "DATE"
    tzid = prop.parameter("TZID")
    return [
        parse_period(item, tzid) if "/" in item else parse_moment(item, tzid, as_date=as_date)
        for item in prop.value.split(",")
        if item.strip()
    ]


def _with_colon_repair(prop: Property, read: Callable[[Property], T]) -> T:
    try:
        return read(prop)
    except ValueError:
        repaired = with_last_colon(prop)
        if repaired is None:
            raise
        return read(repaired)


def format_moment(wall: int, *, date_only: bool = False, utc: bool = False) -> str:
    """Return a wall time as an iCalendar value: ``20261130``, ``20261130T080000`` or with ``Z``."""
    face = time.gmtime(wall)[:6]
    if not 0 < face[0] <= MAXYEAR:
        raise ValueError("a time beyond all dates")
    if date_only:
        return "{:04}{:02}{:02}".format(*face[:3])
    text = "{:04}{:02}{:02}T{:02}{:02}{:02}".format(*face)
    return text + "Z" if utc else text


def format_utc(instant: int) -> str:
    """Write UTC epoch seconds as a DATE-TIME, ``20261130T080000Z`` (RFC 5545 3.3.5)."""
    return format_moment(instant, utc=True)
