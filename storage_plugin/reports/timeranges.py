"""Time ranges on what has no stored instances: tasks, journals and alarms (RFC 4791 9.9).

Events never come here but for their alarms. What cannot be read is in every range: nothing proves
that it is not, and a client that gets too much shows it, one that gets too little loses it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.core.ical.document import Component
from gateway.core.ical.lines import unfold
from gateway.core.ical.reader import RawCalendar, read_calendar
from gateway.core.ical.values import Form, Length, moment_of, parse_duration
from gateway.core.ical.zones import zone_of
from gateway.core.intervals import DAY, Interval
from gateway.core.recurrence.budget import BudgetExceededError, WorkBudget
from gateway.core.recurrence.expand import expand_components
from gateway.core.recurrence.model import BusyRules
from gateway.core.recurrence.recurrence_ids import place
from gateway.core.recurrence.vtimezone import object_zones
from storage_plugin.reports.expansion import as_events
from storage_plugin.reports.filters import TimeRange

_FAR = 400 * 366 * DAY
_YEAR_2100 = 4_102_444_800
_ZONES_CPU_S = 0.5

Instants = Callable[[Component, str], tuple[int, bool] | None]
"""The instant of a property of a component and whether it is a date; None when it has none."""


def is_in_range(body: bytes, span: TimeRange, zone: ZoneInfo) -> bool:
    """Tell whether a VTODO or VJOURNAL touches a range; an open end is None."""
    calendar = read_calendar(unfold(body), full=True)
    if any({"RRULE", "RDATE"} & part.properties.keys() for part in calendar.components):
        return _series_touches(calendar, span, zone)
    instant = _reader(calendar, zone)
    low, high = _bounds(span)
    try:
        return any(_touches(part, instant, low, high) for part in calendar.components)
    except (ValueError, OverflowError, BudgetExceededError):
        return True


def alarm_in_range(body: bytes, span: TimeRange, zone: ZoneInfo) -> bool:
    """Tell whether an alarm of an object goes off in a range, its repetitions included."""
    calendar = read_calendar(unfold(body), full=True)
    alarms = list(_alarms(calendar))
    if not alarms:
        return False
    low, high = _bounds(span)
    if any(low <= at < high for alarm in alarms for at in alarm.fixed()):
        return True
    relative = [alarm for alarm in alarms if alarm.at is None]
    if not relative:
        return False
    reach = max(abs(alarm.offset) + alarm.repeat * alarm.every for alarm in relative)
    window = (low - reach - DAY, high + reach + DAY)
    expansion = expand_components(as_events(calendar), window, BusyRules(zone))
    return bool(expansion.problems) or any(
        low <= at < high
        for instance in expansion.instances
        for alarm in relative
        for at in alarm.relative_to(instance.start, instance.end)
    )


@dataclass(frozen=True, slots=True)
class _Alarm:
    """``at`` is an instant, or None for an offset from start or end; seconds throughout."""

    at: int | None
    offset: int
    from_end: bool
    repeat: int
    every: int

    def fixed(self) -> Iterator[int]:
        if self.at is not None:
            yield from (self.at + n * self.every for n in range(self.repeat + 1))

    def relative_to(self, start: int, end: int) -> Iterator[int]:
        first = (end if self.from_end else start) + self.offset
        yield from (first + n * self.every for n in range(self.repeat + 1))


def _alarms(calendar: RawCalendar) -> Iterator[_Alarm]:
    for component in calendar.components:
        for child in component.children:
            trigger = child.first("TRIGGER")
            if child.name != "VALARM" or trigger is None:
                continue
            repeat = child.text("REPEAT") or "0"
            try:
                every = _seconds(parse_duration(child.text("DURATION"))) if repeat != "0" else 0
                times = min(int(repeat), 1000)
                if (trigger.parameter("VALUE") or "").upper() == "DATE-TIME":
                    yield _Alarm(moment_of(trigger).wall, 0, False, times, every)
                else:
                    offset = _seconds(parse_duration(trigger.value))
                    related = (trigger.parameter("RELATED") or "START").upper()
                    yield _Alarm(None, offset, related == "END", times, every)
            except ValueError:
                continue


def _touches(part: Component, instant: Instants, low: int, high: int) -> bool:
    """Apply the tables of RFC 4791 9.9, row by row."""
    start = instant(part, "DTSTART")
    if part.name == "VJOURNAL":
        if start is None:
            return False
        at, is_date = start
        return high > at and (low < at + DAY if is_date else low <= at)
    due, length = instant(part, "DUE"), part.first("DURATION")
    if start is not None and length is not None:
        end = start[0] + _seconds(parse_duration(length.value))
        return low <= end and (high > start[0] or high >= end)
    if start is not None and due is not None:
        begin, end = start[0], due[0]
        return (low < end or low <= begin) and (high > begin or high >= end)
    if start is not None:
        return low <= start[0] < high
    if due is not None:
        return low < due[0] <= high
    completed, created = instant(part, "COMPLETED"), instant(part, "CREATED")
    if completed is not None and created is not None:
        both = (completed[0], created[0])
        return low <= max(both) and high >= min(both)
    if completed is not None:
        return low <= completed[0] <= high
    return created is None or high > created[0]


def _reader(calendar: RawCalendar, zone: ZoneInfo) -> Instants:
    own = zone_of(zone)
    zones = object_zones(calendar.zone_blocks, zone, _YEAR_2100, WorkBudget(_ZONES_CPU_S))

    def instant(part: Component, name: str) -> tuple[int, bool] | None:
        prop = part.first(name)
        if prop is None:
            return None
        moment = moment_of(prop)
        return place(moment, own, zones)[0], moment.form is Form.DATE

    return instant


def _series_touches(calendar: RawCalendar, span: TimeRange, zone: ZoneInfo) -> bool:
    """Expand a recurring task as an event between the same times."""
    low, high = _bounds(span)
    expansion = expand_components(as_events(calendar), (low, high), BusyRules(zone))
    return bool(expansion.problems) or any(
        instance.start < high and max(instance.end, instance.start + 1) > low
        for instance in expansion.instances
    )


def _bounds(span: TimeRange) -> Interval:
    return (-_FAR if span[0] is None else span[0]), (_FAR if span[1] is None else span[1])


def _seconds(length: Length) -> int:
    return length.days * DAY + length.seconds
