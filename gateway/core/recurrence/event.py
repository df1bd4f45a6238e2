"""One VEVENT understood: its start, length, zone, rules and how it counts.

What cannot be understood makes the span it could cover unknown, and no more (busy-time.md). Decided
here, because the RFC forbids the input and says nothing of what to do with it:

* An empty value is as good as an absent one.
* An end that cannot be read, or lies before the start: unknown for 24 hours from the start on.
* DTEND and DURATION together, or several of them: the latest end that can be read.
* An end without zone, beside a start that has one: on the clock of the start.
* A DATE mixed with a DATE-TIME: unknown from the start to a day past the end.
* A start that cannot be read: its date where that much can be read, else 24 hours before DTEND,
  else the day of RECURRENCE-ID or of the first RDATE: that day is unknown. With none of these
  nobody can say when it is.
* Several DTSTARTs that differ: unknown from the first of them to the end counted from the last.
"""

from dataclasses import dataclass, field

from gateway.core.ical.document import Component
from gateway.core.ical.lines import Property
from gateway.core.ical.rules import Rule, parse_rule, readable_reach
from gateway.core.ical.values import (
    DAY,
    Form,
    Length,
    Moment,
    Period,
    date_in,
    moment_of,
    parse_duration,
    readable_moments,
)
from gateway.core.ical.zones import EASTERNMOST, UTC_ZONE, WESTERNMOST, Zone, ZoneTable
from gateway.core.recurrence.model import BusyRules
from gateway.core.recurrence.transparency import classify
from gateway.core.status import FBType

MAX_TRAVEL = 7 * DAY
"""A travel time longer than this is taken for garbage."""


@dataclass(slots=True)
class Event:
    """A VEVENT with its times made usable.

    ``start`` is a wall time in ``zone``. ``doubt`` is the code of the problem that makes every
    instance unknown, or None; ``slack`` are the seconds by which such an instance may lie earlier
    and end later than it seems (an unknown zone). ``unsure_s`` are the seconds from the start on
    that are unknown besides, because one of several ends could not be read. ``broken_tail`` says
    why instances may be missing, ``reaches`` until which wall time (None: nothing bounds it),
    ``tails`` the same for each broken property; ``unsure_days`` are days that an unreadable RDATE
    names.
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
    unsure_s: int = 0
    broken_tail: str | None = None
    reaches: int | None = None
    tails: list[int | None] = field(default_factory=list)
    unsure_days: list[int] = field(default_factory=list)
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
        return bool(self.rules or self.rdates or self.unsure_days or self.broken_tail)

    def start_of(self, wall: int) -> int:
        """Return the instant an instance with this wall start begins."""
        return self.zone.to_utc(wall)

    def end_of(self, wall: int, length: Length | None = None) -> int:
        """Return the instant it ends: days are nominal, hours exact (RFC 5545 3.3.6)."""
        days, seconds = length or self.length
        return self.zone.to_utc(wall + days * DAY) + seconds


class UnreadableError(Exception):
    """A VEVENT without any readable time: nobody can say when it is."""


def read_event(component: Component, zones: ZoneTable, rules: BusyRules) -> Event:
    """Understand a VEVENT; raises UnreadableError when it has no readable time at all.

    What is wrong but can be lived with is left in ``notes`` as (code, detail).
    """
    starts = _starts(component, zones)
    guessed = None if starts else _likely_start(component)
    start = starts[0] if guessed is None else guessed[0]
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
    if guessed is not None:
        event.doubt = event.doubt or "bad-start"
        event.notes.append(("bad-start", "DTSTART is missing or is no time"))
        event.length = _longest(guessed[1], _length_after(component, start, zones, zone))
    else:
        _doubt_starts(event, starts, zones)
        _read_length(event, start, zones)
    _read_travel(event)
    _read_recurrence(event)
    return event


def resolve(moment: Moment, zones: ZoneTable) -> tuple[Zone, bool]:
    """Return the zone of a time and whether it is known; UTC stands in for an unknown one."""
    if moment.form is Form.UTC:
        return UTC_ZONE, True
    if moment.form is Form.ZONED:
        zone = zones.find(moment.tzid or "")
        return (UTC_ZONE, False) if zone is None else (zone, True)
    return zones.own, True


def instant_of(moment: Moment, zones: ZoneTable) -> int:
    """Return the instant of a time as written (an unknown zone read as UTC)."""
    return resolve(moment, zones)[0].to_utc(moment.wall)


def _starts(component: Component, zones: ZoneTable) -> list[Moment]:
    """Every DTSTART that can be read, the earliest first; one there must be (RFC 5545 3.6.1)."""
    starts = [moment for prop in component.all("DTSTART") if (moment := _read_moment(prop))]
    return sorted(starts, key=lambda moment: instant_of(moment, zones))


def _read_moment(prop: Property | None) -> Moment | None:
    try:
        return None if prop is None else moment_of(prop)
    except (ValueError, OverflowError):
        return None


ONE_DAY = Length(1, 0)


def _likely_start(component: Component) -> tuple[Moment, Length]:
    """From when on an event without a readable start is unknown, and how long (busy-time.md).

    Raises UnreadableError when nothing in it is a readable time.
    """
    for text in (*(prop.value for prop in component.all("DTSTART")), _broken(component, "DTSTART")):
        day = date_in(text)
        if day is not None:
            return _midnight(day, component.first("DTSTART")), ONE_DAY
    end = component.first("DTEND")
    moment = _read_moment(end)
    if moment is not None:
        back = _longest(ONE_DAY, *_durations(component))
        return moment._replace(wall=moment.wall - _seconds_of(back)), back
    for name in ("DTEND", "RECURRENCE-ID", "RDATE"):
        prop = component.first(name)
        day = None if prop is None else date_in(prop.value)
        if day is not None:
            return _midnight(day, prop), ONE_DAY
    raise UnreadableError("DTSTART is missing or is no time, and nothing else says when it is")


def _midnight(day: int, prop: Property | None) -> Moment:
    """Return the beginning of a day on the clock that a property names."""
    tzid = None if prop is None else prop.parameter("TZID")
    if prop is not None and prop.value.strip().upper().endswith("Z"):
        return Moment(day * DAY, Form.UTC)
    return Moment(day * DAY, Form.FLOATING) if not tzid else Moment(day * DAY, Form.ZONED, tzid)


def _broken(component: Component, name: str) -> str:
    """Return what stands behind the name in a line that could not be taken apart."""
    return component.broken.get(name, "").strip()[len(name) :]


def _length_after(component: Component, start: Moment, zones: ZoneTable, zone: Zone) -> Length:
    """How long after a likely start an event goes on, by what can be read of its end."""
    lengths = [Length(0, 0)]
    for prop in component.all("DTEND"):
        end = _read_moment(prop)
        if end is not None:
            seconds = instant_of(_on_clock_of(start, end), zones) - zone.to_utc(start.wall)
            lengths.append(Length(0, seconds))
    return _longest(*lengths, *_durations(component))


def _durations(component: Component) -> list[Length]:
    """Return the DURATIONs that can be read."""
    found = []
    for prop in component.all("DURATION"):
        try:
            found.append(parse_duration(prop.value))
        except (ValueError, OverflowError):
            continue
    return found


def _longest(*lengths: Length) -> Length:
    return max(lengths, key=_seconds_of)


def _on_clock_of(start: Moment, end: Moment) -> Moment:
    """Read an end without a zone, or with an empty one, on its start's clock (busy-time.md)."""
    names_none = end.form is Form.FLOATING or (end.form is Form.ZONED and not end.tzid)
    if names_none and start.form in (Form.UTC, Form.ZONED):
        return start._replace(wall=end.wall)
    return end


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
    unreadable: list[str] = []
    for name in ("DTEND", "DURATION"):
        texts = [prop.value for prop in component.all(name) if prop.value.strip()]
        for prop in component.all(name):
            if not prop.value.strip():
                continue  # empty: as good as absent
            try:
                if name == "DTEND":
                    ends.append(_from_end(event, start, moment_of(prop), zones))
                else:
                    ends.append(_from_duration(event, parse_duration(prop.value)))
                texts.remove(prop.value)
            except (ValueError, OverflowError):
                event.notes.append(("bad-end", f"{name} cannot be read"))
        if name in component.broken:
            event.notes.append(("bad-end", f"{name} cannot be read"))
            texts.append(_broken(component, name))
        unreadable += texts
    if ends:
        event.length = _longest(*ends)
    if event.seconds < 0:
        event.notes.append(("end-before-start", "the end lies before the start"))
        event.doubt = event.doubt or "end-before-start"
        event.length = _unknown_length(event, start, unreadable)
    elif unreadable and ends:
        event.unsure_s = _seconds_of(_unknown_length(event, start, unreadable))
    elif unreadable:
        event.doubt = event.doubt or "bad-end"
        event.length = _unknown_length(event, start, unreadable)


def _unknown_length(event: Event, start: Moment, texts: list[str]) -> Length:
    """24 hours, or to the end of the day that an unreadable end begins with, when that is later."""
    days = [day for text in texts if (day := date_in(text)) is not None]
    last = max(days, default=start.day)
    if event.all_day:
        return Length(max(last - start.day, 1), 0)
    return Length(0, max(DAY, (last + 1) * DAY - start.wall))


def _seconds_of(length: Length) -> int:
    return length.days * DAY + length.seconds


def _from_end(event: Event, start: Moment, end: Moment, zones: ZoneTable) -> Length:
    """Return the length that DTEND gives: nominal days for DATEs, else exact (RFC 5545 3.8.5.3)."""
    if event.all_day and end.form is Form.DATE:
        days = end.day - start.day
        return Length(days or 1, 0)  # an equal end is met in the wild and means that one day
    end = _on_clock_of(start, end)
    zone, known = resolve(end, zones)
    if end.form in (Form.DATE, Form.FLOATING):
        event.zone_dependent = True
    start_known = event.doubt is None
    if not known and (end.tzid != start.tzid or start_known):
        event.doubt = None
        _doubt_zone(event, end)
    seconds = zone.to_utc(end.wall) - event.start_of(start.wall)
    if event.all_day is not (end.form is Form.DATE):
        event.doubt = event.doubt or "mixed-times"
        event.notes.append(("mixed-times", "one of DTSTART and DTEND has a time, the other not"))
        return Length(0, max(seconds, 0) + DAY)
    if not known and start_known:  # the start is sure, so nothing before it is in doubt
        event.slack = (0, 0)
        return Length(0, max(seconds + WESTERNMOST, DAY))
    if event.doubt == "unknown-zone":
        return Length(0, seconds if seconds >= 0 else DAY)
    return Length(0, seconds)


def _from_duration(event: Event, length: Length) -> Length:
    if _seconds_of(length) < 0:
        return length
    if event.all_day and length.seconds:  # not allowed on a DATE; the days it touches
        return Length(-(-(length.days * DAY + length.seconds) // DAY), 0)
    if event.all_day and length == (0, 0):
        return Length(1, 0)
    return length


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
            _break_tail(event, "bad-rule", str(error), _reach_of(event, prop.value))
    if "RRULE" in component.broken:
        reach = _reach_of(event, _broken(component, "RRULE"))
        _break_tail(event, "bad-rule", "RRULE cannot be read", reach)
    _read_dates(event)
    if event.tails:
        _bound_tail(event)
    if not component.closed:  # nobody knows what was cut off, so nothing bounds it
        _break_tail(event, "truncated", "the body ends inside this component")
        event.reaches = None
    prop_id = component.first("RECURRENCE-ID")
    if prop_id is not None:
        event.recurrence_id = _read_moment(prop_id)
        if event.recurrence_id is None:
            event.notes.append(("bad-recurrence-id", "RECURRENCE-ID cannot be read"))
        event.this_and_future = (prop_id.parameter("RANGE") or "").upper() == "THISANDFUTURE"


def _reach_of(event: Event, rule: str) -> int | None:
    return readable_reach(rule, event.start, event.zone.to_wall)


def _break_tail(event: Event, code: str, detail: str, reach: int | None = None) -> None:
    """Say that instances may be missing, until wall time ``reach`` where that much is known."""
    event.notes.append((code, detail))
    event.broken_tail = event.broken_tail or code
    event.tails.append(reach)


def _bound_tail(event: Event) -> None:
    """How far what is missing may reach: as far as a readable UNTIL, COUNT or RDATE (busy-time.md).

    What bounds a broken property itself goes first, then what the others of the event say.
    """
    walls = [_reach_of(event, prop.value) for prop in event.component.all("RRULE")]
    for item in event.rdates:
        moment = item.start if isinstance(item, Period) else item
        is_exact = moment.form is Form.FLOATING
        walls.append(
            event.zone.to_wall(moment.wall)
            if moment.form is Form.UTC
            else moment.wall + (0 if is_exact else DAY)
        )
    last = max((wall for wall in walls if wall is not None), default=None)
    reaches = [last if tail is None else tail for tail in event.tails]
    known = [reach for reach in reaches if reach is not None]
    event.reaches = max(known) if len(known) == len(reaches) else None


def _read_dates(event: Event) -> None:
    """Note dates nobody can read: an RDATE may be anywhere, an EXDATE excludes nothing."""
    component = event.component
    for prop in component.all("RDATE"):
        items, junk = readable_moments(prop)
        event.rdates += items
        for text in junk:
            day = date_in(text)
            if day is None:
                _break_tail(event, "bad-rdate", "RDATE cannot be read")
            else:
                event.notes.append(("bad-rdate", "RDATE cannot be read"))
                event.unsure_days.append(day)
    if "RDATE" in component.broken:
        _break_tail(event, "bad-rdate", "RDATE cannot be read")
    for prop in component.all("EXDATE"):
        items, junk = readable_moments(prop)
        if junk:
            event.notes.append(("bad-exdate", "EXDATE cannot be read and excludes nothing"))
        event.exdates += [item.start if isinstance(item, Period) else item for item in items]
    if "EXDATE" in component.broken:
        event.notes.append(("bad-exdate", "EXDATE cannot be read and excludes nothing"))
    if component.all("EXRULE"):
        event.notes.append(("exrule-ignored", "EXRULE is no longer iCalendar; it excludes nothing"))
