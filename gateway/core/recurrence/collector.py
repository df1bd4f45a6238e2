"""Collects the rows and problems of one expansion, within its bounds."""

from dataclasses import dataclass, field

from gateway.core.ical.zones import ZoneTable
from gateway.core.intervals import Interval
from gateway.core.recurrence.budget import TooManyRowsError, WorkBudget
from gateway.core.recurrence.event import Event
from gateway.core.recurrence.model import BusyRules, Instance, Problem
from gateway.core.status import FBType


@dataclass(slots=True)
class Collector:
    """The shared state of one expansion: its bounds, its rows, what went wrong."""

    window: Interval
    rules: BusyRules
    zones: ZoneTable
    budget: WorkBudget
    max_rows: int
    rows: list[Instance] = field(default_factory=list)
    recurring: bool = False
    open_ended: bool = False
    zone_dependent: bool = False
    first_start: int | None = None
    last_end: int | None = None
    unbounded: bool = False
    _problems: dict[str, Problem] = field(default_factory=dict)
    _unknown: set[Instance] = field(default_factory=set)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Each problem once, with the whole span it made unknown."""
        return tuple(self._problems.values())

    def note(self, code: str, detail: str, span: Interval | None = None) -> None:
        """Remember a problem; the spans of equal codes grow together."""
        old = self._problems.get(code)
        start, end = span if span is not None else (None, None)
        if old is not None:
            detail = old.detail
            if old.start is not None and old.end is not None:
                start = old.start if start is None else min(start, old.start)
                end = old.end if end is None else max(end, old.end)
        self._problems[code] = Problem(code, detail, start, end)

    def bound(self, start: int, end: int) -> None:
        """Widen what is known of the object's whole extent."""
        if self.first_start is None or start < self.first_start:
            self.first_start = start
        if self.last_end is None or end > self.last_end:
            self.last_end = end
        if max(start, end) > self.window[1]:
            self.open_ended = True

    def add(self, event: Event, start: int, end: int, recurrence_id: int | None = None) -> None:
        """Add an instance of an event when it touches the window."""
        if event.doubt is not None:
            self._add_doubtful(event, start, end, recurrence_id)
            return
        before, after = event.travel
        if event.unsure_s and event.fbtype is not FBType.FREE:
            detail = "one of the ends cannot be read"
            self.add_unknown("bad-end", detail, start, start + event.unsure_s + after)
            self.bound(start, start + event.unsure_s + after)
        busy_start, busy_end = start - before, end + after
        fbtype, reason = event.fbtype, event.reason
        if busy_start == busy_end:
            fbtype, reason = FBType.FREE, "zero-length"
        self.bound(busy_start, busy_end)
        if self.touches(busy_start, busy_end):
            self.append(Instance(start, end, fbtype, busy_start, busy_end, reason, recurrence_id))

    def _add_doubtful(self, event: Event, start: int, end: int, recurrence_id: int | None) -> None:
        """Add an instance whose time is not certain: unknown over all it could cover, or free."""
        start -= event.slack[0] + event.travel[0]
        end += event.slack[1] + event.travel[1]
        self.bound(start, end)
        if start >= end or not self.touches(start, end):
            return
        fbtype, reason = event.fbtype, event.reason
        if fbtype is not FBType.FREE:
            fbtype, reason = FBType.UNKNOWN, event.doubt or "unknown"
            self.note(reason, "the time is not certain", (start, end))
        self.append(Instance(start, end, fbtype, start, end, reason, recurrence_id))

    def add_unknown(self, code: str, detail: str, start: int, end: int) -> None:
        """Mark a span unknown, cut to the window; a span marked before stays one row."""
        start, end = max(start, self.window[0]), min(end, self.window[1])
        if start < end:
            self.note(code, detail, (start, end))
            unknown = Instance(start, end, FBType.UNKNOWN, start, end, code)
            if unknown not in self._unknown:
                self._unknown.add(unknown)
                self.rows.append(unknown)
        else:
            self.note(code, detail)

    def append(self, row: Instance) -> None:
        """Add a row; raises TooManyRowsError when one place is left, kept for an unknown span."""
        if len(self.rows) >= self.max_rows - 1:
            raise TooManyRowsError
        self.rows.append(row)

    def touches(self, start: int, end: int) -> bool:
        """Whether a span overlaps the window; an empty one when it begins inside."""
        low, high = self.window
        return start < high and (end > low or start == end == low)
