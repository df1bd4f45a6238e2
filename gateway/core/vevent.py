"""One VEVENT understood: its start, length, zone, rules and how it counts.

Decided here, because the RFC forbids the input and says nothing of what to do with it:

* DTEND before DTSTART, a DATE mixed with a DATE-TIME: the span between is unknown.
* DTEND and DURATION together: the later end.
* An end that cannot be read: unknown from the start to the end of the window.
* A start that cannot be read: unknown from the window's start (to DTEND where that is known).
* Several DTSTARTs that differ: unknown from the first of them to the end counted from the last.
"""

from dataclasses import dataclass, field

from gateway.core.classify import classify
from gateway.core.fbtype import FBType
from gateway.core.reader import Component
from gateway.core.rows import BusyRules
from gateway.core.rules import Rule, parse_rule
from gateway.core.values import (
    DAY,
    Form,
    Length,
    Moment,
    Period,
    moment_of,
    moments_of,
    parse_duration,
)
from gateway.core.zones import EASTERNMOST, UTC_ZONE, WESTERNMOST, Zone, ZoneTable

MAX_TRAVEL = 7 * DAY
"""A travel time longer than this is taken for garbage."""


@dataclass(slots=True)
class Event:
    """A VEVENT with its times made usable.

    ``start`` is a wall time in ``zone``. ``doubt`` is the code of the problem that makes every
    instance unknown, or None; ``slack`` are the seconds by which such an instance may lie earlier
    and end later than it seems (an unknown zone). ``endless``: the end could not be read.
    """

    component: Component
    start: int
    zone: Zone
    all_day: bool
    length: Length
    fbtype: FBType
    reason: str
    zone_dependent: bool
    travel: tuple[int, int] = (0, 0)
    doubt: str | None = None
    slack: tuple[int, int] = (0, 0)
    endless: bool = False
    broken_tail: str | None = None
    recurrence_id: Moment | None = None
    this_and_future: bool = False
    rules: list[Rule] = field(default_factory=list)
    rdates: list[Moment | Period] = field(default_factory=list)
    exdates: list[Moment] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def seconds(self) -> int:
        """The length in seconds, days counted as 24 hours: for reckoning reach only."""
        return self.length.days * DAY + self.length.seconds

    @property
    def recurring(self) -> bool:
        """Whether it is the master of a series."""
        return bool(self.rules or self.rdates or self.broken_tail)

    def start_of(self, wall: int) -> int:
        """The instant an instance with this wall start begins."""
        return self.zone.to_utc(wall)

    def end_of(self, wall: int, length: Length | None = None) -> int:
        """The instant it ends: days are nominal, hours exact (RFC 5545 3.3.6)."""
        days, seconds = length or self.length
        return self.zone.to_utc(wall + days * DAY) + seconds


class UnreadableError(Exception):
    """A VEVENT without a usable start; ``until`` is its end where that much is known."""

    def __init__(self, detail: str, until: int | None) -> None:
        super().__init__(detail)
        self.until = until


def read_event(component: Component, zones: ZoneTable, rules: BusyRules) -> Event:
    """Understand a VEVENT; raises UnreadableError when it has no usable start.

    What is wrong but can be lived with is left in ``notes`` as (code, detail).
    """
    starts = _starts(component, zones)
    start = starts[0]
    zone, known = resolve(start, zones)
    all_day = start.form is Form.DATE
    verdict, reason = classify(component, rules, all_day=all_day)
    event = Event(
        component=component,
        start=start.wall,
        zone=zone,
        all_day=all_day,
        length=Length(1, 0) if all_day else Length(0, 0),
        fbtype=verdict,
        reason=reason,
        zone_dependent=start.form in (Form.DATE, Form.FLOATING),
    )
    if not known:
        _doubt_zone(event, start)
    _doubt_starts(event, starts, zones)
    _read_length(event, start, zones)
    _read_travel(event)
    _read_recurrence(event)
    if not component.closed:
        event.broken_tail = "truncated"
        event.notes.append(("truncated", "the body ends inside this component"))
    return event


def resolve(moment: Moment, zones: ZoneTable) -> tuple[Zone, bool]:
    """The zone a time is in and whether it is known; an unknown one is stood in for by UTC."""
    if moment.form is Form.UTC:
        return UTC_ZONE, True
    if moment.form is Form.ZONED:
        zone = zones.find(moment.tzid or "")
        return (UTC_ZONE, False) if zone is None else (zone, True)
    return zones.own, True


def instant_of(moment: Moment, zones: ZoneTable) -> int:
    """The instant of a time as written (an unknown zone read as UTC)."""
    return resolve(moment, zones)[0].to_utc(moment.wall)


def _starts(component: Component, zones: ZoneTable) -> list[Moment]:
    """Every DTSTART that can be read, the earliest first; one there must be (RFC 5545 3.6.1)."""
    starts = []
    for prop in component.all("DTSTART"):
        try:
            starts.append(moment_of(prop))
        except (ValueError, OverflowError):
            continue
    if starts:
        return sorted(starts, key=lambda moment: instant_of(moment, zones))
    until = None
    end = component.first("DTEND")
    if end is not None and not component.all("RRULE") and not component.all("RDATE"):
        try:
            moment = moment_of(end)
            until = instant_of(moment, zones) + (0 if moment.form is Form.UTC else WESTERNMOST)
        except (ValueError, OverflowError):
            pass
    raise UnreadableError("DTSTART is missing or is no time", until)


def _doubt_starts(event: Event, starts: list[Moment], zones: ZoneTable) -> None:
    """Of starts that differ nobody knows which is meant, or whether one was to be the end."""
    apart = instant_of(starts[-1], zones) - instant_of(starts[0], zones)
    if apart:
        event.doubt = event.doubt or "bad-start"
        event.slack = (event.slack[0], event.slack[1] + apart)
        event.notes.append(("bad-start", "DTSTART comes more than once"))


def _doubt_zone(event: Event, moment: Moment) -> None:
    event.doubt = "unknown-zone"
    event.slack = (EASTERNMOST, WESTERNMOST)
    event.notes.append(("unknown-zone", f"no such time zone: {(moment.tzid or '')[:64]!r}"))


def _read_length(event: Event, start: Moment, zones: ZoneTable) -> None:
    """Fill ``length`` from DTEND and DURATION, or mark the doubt."""
    component = event.component
    ends: list[Length] = []
    for name in ("DTEND", "DURATION"):
        prop = component.first(name)
        if prop is None:
            if name in component.broken:
                _endless(event, name)
            continue
        try:
            if name == "DTEND":
                ends.append(_from_end(event, start, moment_of(prop), zones))
            else:
                ends.append(_from_duration(event, parse_duration(prop.value)))
        except (ValueError, OverflowError):
            _endless(event, name)
    if ends:
        event.length = max(ends, key=lambda length: length.days * DAY + length.seconds)
    if event.seconds < 0:
        _reverse(event)


def _endless(event: Event, name: str) -> None:
    event.endless = True
    event.doubt = event.doubt or "bad-end"
    event.notes.append(("bad-end", f"{name} cannot be read"))


def _from_end(event: Event, start: Moment, end: Moment, zones: ZoneTable) -> Length:
    """The length that DTEND gives: nominal days for DATEs, else exact (RFC 5545 3.8.5.3)."""
    if event.all_day and end.form is Form.DATE:
        days = end.day - start.day
        return Length(days or 1, 0)  # an equal end is met in the wild and means that one day
    zone, known = resolve(end, zones)
    if end.form in (Form.DATE, Form.FLOATING):
        event.zone_dependent = True
    if not known and (end.tzid != start.tzid or event.doubt is None):
        event.doubt = None
        _doubt_zone(event, end)
    seconds = zone.to_utc(end.wall) - event.start_of(start.wall)
    if event.all_day is not (end.form is Form.DATE):
        event.doubt = event.doubt or "mixed-times"
        event.notes.append(("mixed-times", "one of DTSTART and DTEND has a time, the other not"))
        return Length(0, max(seconds, 0) + DAY)
    if event.doubt == "unknown-zone":
        return Length(0, max(seconds, 0))
    return Length(0, seconds)


def _from_duration(event: Event, length: Length) -> Length:
    if event.all_day and length.seconds:  # not allowed on a DATE; the days it touches
        return Length(-(-(length.days * DAY + length.seconds) // DAY), 0)
    if event.all_day and length == (0, 0):
        return Length(1, 0)
    return length


def _reverse(event: Event) -> None:
    """DTEND before DTSTART: what lies between is unknown."""
    event.doubt = event.doubt or "end-before-start"
    event.notes.append(("end-before-start", "the end lies before the start"))
    back = event.seconds
    event.length = Length(0, -back)
    event.slack = (event.slack[0] - back, event.slack[1] + back)


def _read_travel(event: Event) -> None:
    """Apple's travel times widen the busy span; a bad one is ignored and noted."""
    found = []
    for name in ("X-APPLE-TRAVEL-DURATION", "X-APPLE-TRAVEL-RETURN-DURATION"):
        seconds = 0
        text = event.component.text(name)
        if text:
            try:
                length = parse_duration(text)
                seconds = length.days * DAY + length.seconds
            except ValueError:
                seconds = -1
            if not 0 <= seconds <= MAX_TRAVEL:
                event.notes.append(("bad-travel-time", "a travel time is ignored"))
                seconds = 0
        found.append(seconds)
    event.travel = (found[0], found[1])


def _read_recurrence(event: Event) -> None:
    component = event.component
    for prop in component.all("RRULE"):
        if not prop.value.strip():
            event.notes.append(("empty-rule", "RRULE is empty"))
            continue
        try:
            rule = parse_rule(prop.value)
            if event.all_day and rule.freq in ("HOURLY", "MINUTELY", "SECONDLY"):
                raise ValueError("RRULE is finer than the days of an all-day event")
            event.rules.append(rule)
        except (ValueError, OverflowError) as error:
            event.broken_tail = "bad-rule"
            event.notes.append(("bad-rule", str(error)))
    if "RRULE" in component.broken:
        event.broken_tail = "bad-rule"
        event.notes.append(("bad-rule", "RRULE cannot be read"))
    _read_dates(event)
    prop_id = component.first("RECURRENCE-ID")
    if prop_id is not None:
        try:
            event.recurrence_id = moment_of(prop_id)
        except (ValueError, OverflowError):
            event.notes.append(("bad-recurrence-id", "RECURRENCE-ID cannot be read"))
        event.this_and_future = (prop_id.parameter("RANGE") or "").upper() == "THISANDFUTURE"


def _read_dates(event: Event) -> None:
    """An unreadable RDATE may be anywhere; an unreadable EXDATE excludes nothing."""
    component = event.component
    for prop in component.all("RDATE"):
        try:
            event.rdates += moments_of(prop)
        except (ValueError, OverflowError):
            event.broken_tail = "bad-rdate"
            event.notes.append(("bad-rdate", "RDATE cannot be read"))
    for prop in component.all("EXDATE"):
        try:
            items = moments_of(prop)
        except (ValueError, OverflowError):
            event.notes.append(("bad-exdate", "EXDATE cannot be read and excludes nothing"))
            continue
        event.exdates += [item.start if isinstance(item, Period) else item for item in items]
    if component.all("EXRULE"):
        event.notes.append(("exrule-ignored", "EXRULE is no longer iCalendar; it excludes nothing"))
