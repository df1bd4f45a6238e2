"""iCalendar values that carry time: DATE, DATE-TIME, PERIOD, DURATION, UTC-OFFSET.

A *wall* time is an int: the seconds from 1970-01-01 00:00 to the clock face as written, read as if
it were UTC. Turning a wall time into an instant is the business of :mod:`gateway.core.zones`.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from typing import NamedTuple, TypeVar

from gateway.core.content_lines import Property, with_last_colon

T = TypeVar("T")

DAY = 86_400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)[Zz]?$")
_DATE_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)[Tt](\d\d)(\d\d)(\d\d)?([Zz])?$")
_DURATION = re.compile(
    r"([+-])?P(?:(\d{1,6})W)?(?:(\d{1,6})D)?"
    r"(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?$")


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
    """The calendar date of a day number; raises ValueError or OverflowError beyond year 9999."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def parse_moment(value: str, tzid: str | None = None, *, as_date: bool = False) -> Moment:
    """Read one DATE or DATE-TIME; raises ValueError.

    ``tzid`` is ignored for a UTC value (RFC 5545 3.2.19) and for a DATE. ``as_date`` says that
    ``VALUE=DATE`` was declared: a midnight written as DATE-TIME is then a DATE. Seconds may be
    missing, a DATE may end in Z, 24:00 is the next midnight.
    """
    text = value.strip()
    if match := _DATE.match(text):
        return Moment(day_number(int(match[1]), int(match[2]), int(match[3])) * DAY, Form.DATE)
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
    if tzid is None:
        return Moment(wall, Form.FLOATING)
    return Moment(wall, Form.ZONED, tzid)


def parse_duration(value: str) -> Length:
    """Read a DURATION; raises ValueError. A negative one has negative parts."""
    match = _DURATION.match(value.strip())
    if match is None or all(part is None for part in match.groups()[1:]):
        raise ValueError("not a duration")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    sign = -1 if match[1] == "-" else 1
    return Length(sign * (weeks * 7 + days), sign * (hours * 3600 + minutes * 60 + seconds))


def parse_period(value: str, tzid: str | None = None) -> Period:
    """Read a PERIOD; raises ValueError."""
    first, slash, second = value.partition("/")
    if not slash:
        raise ValueError("not a period")
    start = parse_moment(first, tzid)
    if second.strip()[:1] in ("P", "p", "+", "-"):
        return Period(start, parse_duration(second))
    return Period(start, parse_moment(second, tzid))


def parse_offset(value: str) -> int:
    """Read a UTC-OFFSET in seconds, east positive; raises ValueError."""
    match = _OFFSET.match(value.strip())
    if match is None:
        raise ValueError("not an offset from UTC")
    seconds = int(match[2]) * 3600 + int(match[3]) * 60 + int(match[4] or 0)
    if seconds > 26 * 3600:
        raise ValueError("an offset from UTC of more than a day")
    return -seconds if match[1] == "-" else seconds


def moment_of(prop: Property) -> Moment:
    """The single time of DTSTART, DTEND, RECURRENCE-ID and the like; raises ValueError."""
    return _with_colon_repair(prop, _one_moment)


def moments_of(prop: Property) -> list[Moment | Period]:
    """The list of an EXDATE or RDATE; empty items are skipped; raises ValueError."""
    return _with_colon_repair(prop, _many_moments)


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
    """A wall time as an iCalendar value: ``20261130``, ``20261130T080000`` or with ``Z``."""
    text = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%S")
    if date_only:
        return text[:8]
    return text + "Z" if utc else text
