"""C:expand (RFC 4791 9.6.5): a series as its instances in a window, in UTC.

The engine says when the instances are; the lines of master or override are copied around those
times. Which override stands for which instance is asked of the engine too, one override alone.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from gateway.core.ical.lines import Property, fold, split_line, unfold
from gateway.core.intervals import DAY, Interval
from gateway.core.recurrence.expand import expand
from gateway.core.recurrence.model import BusyRules, Instance

_TIMES = {"DTSTART", "DTEND", "DURATION", "RECURRENCE-ID", "RRULE", "RDATE", "EXDATE", "EXRULE"}
_FLAGS = re.MULTILINE | re.IGNORECASE
_TODO_LINE = re.compile(r"^(BEGIN|END):VTODO[ \t]*$", _FLAGS)
_EVENT_LINE = re.compile(r"^(BEGIN|END):VEVENT\b", _FLAGS)
_DUE_LINE = re.compile(r"^DUE(?=[;:])", _FLAGS)
_DTEND_LINE = re.compile(r"^DTEND(?=[;:])", _FLAGS)
_DTSTART_LINE = re.compile(r"^DTSTART(?=[;:])", _FLAGS)
_WIDE = 400 * 366 * DAY
MAX_EXPANDED = 4 * 1024 * 1024
"""Bytes one object may grow to; a long text in a series of every minute would grow to gigabytes."""
MAX_READ = 16 * 1024 * 1024
"""Characters of time zones read for the overrides of one object, which are read one by one."""


@dataclass
class _Block:
    """One VEVENT: its own lines, and those of its alarms as they are."""

    lines: list[Property]
    raw: list[str]

    @property
    def is_override(self) -> bool:
        return any(line.name == "RECURRENCE-ID" for line in self.lines)

    @property
    def all_day(self) -> bool:
        start = next((line for line in self.lines if line.name == "DTSTART"), None)
        return start is not None and (
            start.parameter("VALUE") == "DATE" or len(start.value.strip()) == 8
        )

    @cached_property
    def kept(self) -> bytes:
        """What every instance repeats: all lines but those that say when, folded."""
        kept: list[str] = []
        depth = 0
        for raw in self.raw:
            prop = split_line(raw)
            depth += prop is not None and prop.name == "BEGIN"
            if depth or prop is None or prop.name not in _TIMES:
                kept.append(raw)
            depth -= prop is not None and prop.name == "END"
        return b"".join(fold(line) for line in kept)


def expand_text(body: bytes, window: Interval, rules: BusyRules) -> str:
    """Return the object with the instances of the window alone.

    Whole when they cannot be told, or when they would be longer than :data:`MAX_EXPANDED`.
    """
    head, blocks, zones = _split(unfold(body))
    expansion = expand(body, window, rules)
    unclear = any(problem.start is not None for problem in expansion.problems)
    if not blocks or unclear or expansion.first_start is None:
        return body.decode("utf-8", "replace")
    master = next((block for block in blocks if not block.is_override), None)
    if sum(block.is_override for block in blocks) * sum(map(len, zones)) > MAX_READ:
        return body.decode("utf-8", "replace")
    overrides = _overrides(blocks, head, zones, rules)
    chosen = [(overrides.get(i.recurrence_id, master), i) for i in expansion.instances]
    if sum(len(block.kept) for block, _instance in chosen if block is not None) > MAX_EXPANDED:
        return body.decode("utf-8", "replace")
    parts = [fold(line) for line in head]
    for block, instance in chosen:
        if block is not None:
            parts += _instance(block, instance, rules)
    parts.append(b"END:VCALENDAR\r\n")
    return b"".join(parts).decode()


def expand_task(body: bytes, window: Interval, rules: BusyRules) -> str:
    """Return a VTODO with its instances of the window alone: they recur as an event's would."""
    event = as_event(body)
    expanded = expand_text(event, window, rules)
    if expanded == event.decode():
        return body.decode("utf-8", "replace")
    due = _DTEND_LINE if _DTSTART_LINE.search(unfold(body)) else _DTSTART_LINE
    return due.sub("DUE", _EVENT_LINE.sub(r"\1:VTODO", expanded))


def as_event(body: bytes) -> bytes:
    """Return a VTODO as an event between the same times; one that only is due starts then."""
    text = _TODO_LINE.sub(r"\1:VEVENT", unfold(body))
    due = "DTEND" if _DTSTART_LINE.search(text) else "DTSTART"
    return _DUE_LINE.sub(due, text).encode()


def _overrides(
    blocks: list[_Block], head: list[str], zones: list[str], rules: BusyRules
) -> dict[int | None, _Block]:
    """Return the overrides by the instant they stand for."""
    found: dict[int | None, _Block] = {}
    for block in blocks:
        if not block.is_override:
            continue
        lines = [*head, *zones, "BEGIN:VEVENT", *block.raw, "END:VEVENT", "END:VCALENDAR", ""]
        alone = expand("\r\n".join(lines).encode(), (-_WIDE, _WIDE), rules)
        if alone.instances:
            found[alone.instances[0].recurrence_id] = block
    return found


def _instance(block: _Block, instance: Instance, rules: BusyRules) -> list[bytes]:
    lines = ["BEGIN:VEVENT", _time("DTSTART", instance.start, block, rules)]
    if instance.end > instance.start:
        lines.append(_time("DTEND", instance.end, block, rules))
    if instance.recurrence_id is not None:
        lines.append(_time("RECURRENCE-ID", instance.recurrence_id, block, rules))
    return [*(f"{line}\r\n".encode() for line in lines), block.kept, b"END:VEVENT\r\n"]


def _time(name: str, instant: int, block: _Block, rules: BusyRules) -> str:
    if block.all_day:
        return f"{name};VALUE=DATE:{datetime.fromtimestamp(instant, rules.zone):%Y%m%d}"
    return f"{name}:{datetime.fromtimestamp(instant, UTC):%Y%m%dT%H%M%SZ}"


def _split(text: str) -> tuple[list[str], list[_Block], list[str]]:
    """Return the lines before the components, the events, and the lines of the zones."""
    head: list[str] = []
    blocks: list[_Block] = []
    zones: list[str] = []
    stack: list[str] = []
    for raw in text.split("\n"):
        prop = split_line(raw)
        if prop is None:
            continue
        name, value = prop.name, prop.value.strip().upper()
        if name == "BEGIN":
            stack.append(value)
            if stack == ["VCALENDAR", "VEVENT"]:
                blocks.append(_Block([], []))
                continue
        inside = stack[1] if len(stack) > 1 else ""
        is_end_of_event = name == "END" and stack == ["VCALENDAR", "VEVENT"]
        if inside == "VEVENT" and not is_end_of_event:
            blocks[-1].raw.append(raw)
            if len(stack) == 2:
                blocks[-1].lines.append(prop)
        elif inside == "VTIMEZONE":
            zones.append(raw)
        elif not inside and name != "END":
            head.append(raw)
        if name == "END" and stack:
            stack.pop()
    return head, blocks, zones
