"""C:expand (RFC 4791 9.6.5): a series as its instances in a window, in UTC.

The engine says when the instances are; the lines of master or override are copied around those
times. Which override stands for which instance is asked of the engine too, one override alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from gateway.core.ical.document import Component, new_component, read_text, text_of, write
from gateway.core.ical.lines import Property, unfold
from gateway.core.ical.reader import RawCalendar, view_of
from gateway.core.ical.values import format_utc
from gateway.core.intervals import DAY, Interval
from gateway.core.recurrence.expand import expand_components
from gateway.core.recurrence.model import BusyRules, Instance

_TIMES = {"DTSTART", "DTEND", "DURATION", "RECURRENCE-ID", "RRULE", "RDATE", "EXDATE", "EXRULE"}
_WIDE = 400 * 366 * DAY
MAX_EXPANDED = 4 * 1024 * 1024
"""Bytes one object may grow to; a long text in a series of every minute would grow to gigabytes."""
MAX_READ = 16 * 1024 * 1024
"""Characters of time zones read for the overrides of one object, which are read one by one."""


class _Words(NamedTuple):
    """What a component and its edges are called where they are written."""

    component: str
    start: str
    end: str


@dataclass(eq=False)
class _Block:
    """One event, master or override, as what is repeated for each of its instances."""

    event: Component

    @property
    def is_override(self) -> bool:
        return "RECURRENCE-ID" in self.event.properties

    @property
    def all_day(self) -> bool:
        start = self.event.first("DTSTART")
        return start is not None and (
            start.parameter("VALUE") == "DATE" or len(start.value.strip()) == 8
        )

    @cached_property
    def kept(self) -> bytes:
        """What every instance repeats: all but the properties that say when, its alarms too."""
        kept = Component("")
        kept.keep(
            *(
                item
                for item in self.event.content
                if not isinstance(item, Property) or item.name not in _TIMES
            )
        )
        return write(kept, strict=True)


def expand_text(body: bytes, window: Interval, rules: BusyRules) -> str:
    """Return the object with the instances of the window alone.

    Whole when they cannot be told, or when they would be longer than :data:`MAX_EXPANDED`.
    """
    words = _Words("VEVENT", "DTSTART", "DTEND")
    expanded = _expanded(view_of(read_text(unfold(body))), window, rules, words)
    return body.decode("utf-8", "replace") if expanded is None else expanded.decode()


def expand_task(body: bytes, window: Interval, rules: BusyRules) -> str:
    """Return a VTODO with its instances of the window alone: they recur as an event's would."""
    calendar = view_of(read_text(unfold(body)))
    start = "DTSTART" if _due_is_the_end(calendar) else "DUE"
    expanded = _expanded(as_events(calendar), window, rules, _Words("VTODO", start, "DUE"))
    return body.decode("utf-8", "replace") if expanded is None else expanded.decode()


def as_events(calendar: RawCalendar) -> RawCalendar:
    """Return tasks as events between the same times; what only is due starts then."""
    due = "DTEND" if _due_is_the_end(calendar) else "DTSTART"
    parts = [_as_event(p, due) if p.name == "VTODO" else p for p in calendar.components]
    return RawCalendar(parts, calendar.zone_blocks, calendar.has_calendar, calendar.header)


def _due_is_the_end(calendar: RawCalendar) -> bool:
    return any("DTSTART" in part.properties for part in calendar.components)


def _as_event(task: Component, due: str) -> Component:
    event = new_component("VEVENT")
    event.closed, event.broken = task.closed, task.broken
    for item in task.content:
        if not isinstance(item, Property):
            event.keep(item)
        else:
            event.add(item._replace(name=due) if item.name == "DUE" else item)
    return event


def _expanded(
    calendar: RawCalendar, window: Interval, rules: BusyRules, words: _Words
) -> bytes | None:
    """Return the calendar with the instances of the window; None when it is to be sent whole."""
    blocks = [_Block(part) for part in calendar.components if part.name == "VEVENT"]
    expansion = expand_components(calendar, window, rules)
    unclear = any(problem.start is not None for problem in expansion.problems)
    if not blocks or unclear or expansion.first_start is None:
        return None
    overrides = [block for block in blocks if block.is_override]
    master = next((block for block in blocks if not block.is_override), None)
    if overrides and len(overrides) * sum(len(text_of(z)) for z in calendar.zones()) > MAX_READ:
        return None
    by_instant = _by_instant(overrides, calendar, rules)
    chosen = [(by_instant.get(i.recurrence_id, master), i) for i in expansion.instances]
    if sum(len(block.kept) for block, _instance in chosen if block is not None) > MAX_EXPANDED:
        return None
    frame = new_component("VCALENDAR", *calendar.header.values())
    frame.end = None
    parts = [write(frame, strict=True)]
    for block, instance in chosen:
        if block is not None:
            parts += _instance(block, instance, rules, words)
    parts.append(b"END:VCALENDAR\r\n")
    return b"".join(parts)


def _by_instant(
    overrides: Sequence[_Block], calendar: RawCalendar, rules: BusyRules
) -> dict[int | None, _Block]:
    """Return the overrides by the instant they stand for: each is asked of the engine alone."""
    found: dict[int | None, _Block] = {}
    for block in overrides:
        alone = RawCalendar([block.event], calendar.zone_blocks, has_calendar=True)
        expansion = expand_components(alone, (-_WIDE, _WIDE), rules)
        if expansion.instances:
            found[expansion.instances[0].recurrence_id] = block
    return found


def _instance(block: _Block, instance: Instance, rules: BusyRules, words: _Words) -> list[bytes]:
    lines = [f"BEGIN:{words.component}", _time(words.start, instance.start, block, rules)]
    if instance.end > instance.start:
        lines.append(_time(words.end, instance.end, block, rules))
    if instance.recurrence_id is not None:
        lines.append(_time("RECURRENCE-ID", instance.recurrence_id, block, rules))
    end = f"END:{words.component}\r\n".encode()
    return [*(f"{line}\r\n".encode() for line in lines), block.kept, end]


def _time(name: str, instant: int, block: _Block, rules: BusyRules) -> str:
    if block.all_day:
        return f"{name};VALUE=DATE:{datetime.fromtimestamp(instant, rules.zone):%Y%m%d}"
    return f"{name}:{format_utc(instant)}"
