"""Somebody's working hours as ``calendar-availability`` (RFC 7953), read and written.

What clients make of it is a week: one VAVAILABILITY whose AVAILABLE parts repeat weekly or daily,
with single dates added (no RRULE) or taken out (EXDATE). Exactly that is understood. What says
more (other rules, an end, a zone that is not in the tz database, moved instances) is refused with
words rather than kept half: a booking page must not offer hours nobody meant.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.core.availability.slots import MINUTES_A_DAY, Hours
from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.compose import Draft, compose, utc
from gateway.core.ical.document import Component
from gateway.core.ical.lines import Property, unfold
from gateway.core.ical.reader import TIME_BEARING, read_calendar
from gateway.core.ical.rules import WEEKDAYS, Rule, parse_rule
from gateway.core.ical.values import (
    DAY,
    Form,
    Moment,
    Period,
    date_of,
    moment_of,
    moments_of,
    parse_duration,
)
from gateway.core.ical.zones import UTC_ZONE, IanaZone, Zone, find_named_zone
from gateway.core.recurrence.vtimezone import write_vtimezone

SOON_S = 7 * DAY
"""Hours that begin later than this are not hours yet."""

MAX_PARTS = 400
_MONDAY = date(2024, 1, 1)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Week:
    """Hours of Monday to Sunday on a clock in ``zone``, and of single dates that differ."""

    zone: ZoneInfo
    weekdays: tuple[Hours, ...]
    overrides: tuple[tuple[date, Hours], ...] = ()


# --- reading ---


class _Part(NamedTuple):
    """One AVAILABLE: when it is on which weekdays (or on one date), and where it is not."""

    zone: ZoneInfo
    span: tuple[int, int]
    weekdays: frozenset[int]
    single: date | None
    without: tuple[date, ...]


def read_week(body: bytes, *, own: ZoneInfo, now: int) -> Week:
    """Read a VCALENDAR with one VAVAILABILITY; raises :class:`InvalidCalendarData`.

    ``own`` is the zone of floating times, ``now`` is UTC epoch seconds.
    """
    found = [
        component
        for component in read_calendar(unfold(body), full=True).components
        if component.name == "VAVAILABILITY"
    ]
    if len(found) != 1 or not found[0].closed:
        raise _refusal("there must be exactly one VAVAILABILITY")
    _check_bounds(found[0], now)
    available = [part for part in found[0].children if part.name == "AVAILABLE"]
    if len(available) > MAX_PARTS:
        raise _refusal("there are too many AVAILABLE parts")
    try:
        parts = [_read_part(part, own, now) for part in available]
    except (ValueError, OverflowError) as error:
        raise _refusal(f"a part cannot be read ({error})") from None
    zones = {part.zone.key for part in parts}
    if len(zones) > 1:
        raise _refusal("its parts are in different time zones")
    return _week(parts, parts[0].zone if parts else own)


def _check_bounds(component: Component, now: int) -> None:
    if component.first("DTEND") is not None or component.first("DURATION") is not None:
        raise _refusal("it has an end")
    start = component.first("DTSTART")
    try:
        wall = moment_of(start).wall if start is not None else 0
    except ValueError:
        raise _refusal("its DTSTART is no time") from None
    if wall > now + SOON_S:
        raise _refusal("it begins in the future")


def _read_part(part: Component, own: ZoneInfo, now: int) -> _Part:
    if (
        part.broken.keys() & set(TIME_BEARING)
        or part.first("RECURRENCE-ID") is not None
        or part.first("RDATE") is not None
    ):
        raise ValueError("RDATE and RECURRENCE-ID are not understood here")
    dtstart = part.first("DTSTART")
    if dtstart is None:
        raise ValueError("no DTSTART")
    start = moment_of(dtstart)
    zone = _zone(start, own)
    begin, seconds = divmod(start.wall % DAY, 60)
    length = _length(part, start)
    if seconds or not 0 < length <= MINUTES_A_DAY or (length == MINUTES_A_DAY and begin):
        raise ValueError("hours are whole minutes, and less than a day unless they are a whole one")
    rules = part.all("RRULE")
    weekdays = _weekdays(rules, start, now)
    return _Part(
        zone=zone,
        span=(begin, begin + length),
        weekdays=weekdays,
        single=None if rules else date_of(start.day),
        without=tuple(_without(part.all("EXDATE"), start)),
    )


def _zone(start: Moment, own: ZoneInfo) -> ZoneInfo:
    if start.form is Form.FLOATING:
        return own
    if start.form is Form.UTC:
        return _UTC
    zone: Zone | None = find_named_zone(start.tzid or "") if start.form is Form.ZONED else None
    if zone is UTC_ZONE:
        return _UTC
    if not isinstance(zone, IanaZone):
        raise ValueError("a date alone, or a time zone that is not in the tz database")
    return zone.info


def _length(part: Component, start: Moment) -> int:
    """Return the minutes on the clock from start to end."""
    dtend, duration = part.first("DTEND"), part.first("DURATION")
    if dtend is not None:
        end = moment_of(dtend)
        if (end.form, end.tzid) != (start.form, start.tzid):
            raise ValueError("start and end are in different time zones")
        seconds = end.wall - start.wall
    else:
        days, seconds = parse_duration(duration.value if duration is not None else "")
        seconds += days * DAY
    if seconds % 60:
        raise ValueError("hours are whole minutes")
    return seconds // 60


def _weekdays(rules: list[Property], start: Moment, now: int) -> frozenset[int]:
    if not rules:
        return frozenset()
    rule: Rule = parse_rule(rules[0].value)
    endless = rule.count is None and rule.until is None and start.wall <= now + SOON_S
    plain = rule.interval == 1 and not rule.by and all(number == 0 for number, _ in rule.byday)
    if len(rules) > 1 or rule.freq not in ("WEEKLY", "DAILY") or not (endless and plain):
        raise ValueError("only endless weekly and daily rules are understood here")
    named = frozenset(weekday for _, weekday in rule.byday)
    if rule.freq == "DAILY":
        return named or frozenset(range(7))
    return named or frozenset({date_of(start.day).weekday()})


def _without(exdates: Iterable[Property], start: Moment) -> Iterator[date]:
    for prop in exdates:
        for moment in moments_of(prop):
            if isinstance(moment, Period):
                raise ValueError("an EXDATE is no period")
            if moment.form is Form.DATE or moment.wall % DAY == start.wall % DAY:
                yield date_of(moment.day)
            else:
                raise ValueError("an EXDATE is not the start of an instance")


def _week(parts: list[_Part], zone: ZoneInfo) -> Week:
    weekdays = tuple(
        _joined(part.span for part in parts if weekday in part.weekdays) for weekday in range(7)
    )
    dates = {day for part in parts for day in part.without}
    dates |= {part.single for part in parts if part.single is not None}
    overrides = []
    for day in sorted(dates):
        spans = [
            part.span
            for part in parts
            if part.single == day or (day.weekday() in part.weekdays and day not in part.without)
        ]
        if _joined(spans) != weekdays[day.weekday()]:
            overrides.append((day, _joined(spans)))
    return Week(zone, weekdays, tuple(overrides))


def _joined(spans: Iterable[tuple[int, int]]) -> Hours:
    """Join what overlaps; what only touches stays two spans, each with a grid of its own."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(set(spans)):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    if any(end - start > MINUTES_A_DAY for start, end in joined):
        raise _refusal("its hours of one date are longer than a day")
    return tuple(joined)


def _refusal(reason: str) -> InvalidCalendarData:
    return InvalidCalendarData(f"These working hours cannot be kept: {reason}.")


# --- writing ---


def write_week(week: Week, *, uid: str, stamp: int) -> bytes:
    """Write hours as a VCALENDAR with one VAVAILABILITY; ``stamp`` is UTC epoch seconds.

    Reading it again gives the same hours; dates before 2024 and the last of all are left out.
    """
    zones = []
    if week.zone != _UTC:
        year = utc(stamp).year
        zones.append(write_vtimezone(week.zone, week.zone.key, year, year + 5))
    parts = [
        Draft(
            "AVAILABLE",
            [
                ("UID", f"{uid}-{number}"),
                ("DTSTAMP", utc(stamp)),
                ("DTSTART", _at(week.zone, day, span[0])),
                ("DTEND", _at(week.zone, day, span[1])),
                *more,
            ],
        )
        for number, (day, span, more) in enumerate([*_weekly_parts(week), *_single_parts(week)])
    ]
    hours = Draft("VAVAILABILITY", [("UID", uid), ("DTSTAMP", utc(stamp))], parts)
    return compose(hours, zones=zones)


_Written = tuple[date, tuple[int, int], list[tuple[str, object]]]


def _weekly_parts(week: Week) -> Iterator[_Written]:
    spans = dict.fromkeys(span for hours in week.weekdays for span in hours)
    for span in spans:
        days = [number for number, hours in enumerate(week.weekdays) if span in hours]
        first = _MONDAY + timedelta(days=days[0])
        rule = {"FREQ": "WEEKLY", "BYDAY": [WEEKDAYS[number] for number in days]}
        without = [
            ("EXDATE", _at(week.zone, day, span[0]))
            for day, hours in week.overrides
            if day >= first and span in week.weekdays[day.weekday()] and span not in hours
        ]
        yield first, span, [("RRULE", rule), *without]


def _single_parts(week: Week) -> Iterator[_Written]:
    for day, hours in week.overrides:
        for span in hours:
            if _MONDAY <= day < date.max and span not in week.weekdays[day.weekday()]:
                yield day, span, []


def _at(zone: ZoneInfo, day: date, minutes: int) -> datetime:
    """Return a clock face of a day; the minutes may reach into the next."""
    face = datetime.combine(day, time.min) + timedelta(minutes=minutes)
    return face.replace(tzinfo=zone)
