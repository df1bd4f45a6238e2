"""What the engine is told and what it answers: the plain values of an expansion."""

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.core.intervals import Interval
from gateway.core.status import FBType

AllDay = Literal["as-marked", "block", "ignore"]
"""How the all-day events of a calendar count: as they say, all of them, or none."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One expanded instance of an object; all times are UTC epoch seconds, ends exclusive.

    ``start`` and ``end`` are the real span, ``busy_start`` and ``busy_end`` the span that counts
    (widened by travel time). ``reason`` is a stable machine word that says why it counts as
    ``fbtype``. ``recurrence_id`` is the original start of an instance of a series, else None.
    """

    start: int
    end: int
    fbtype: FBType
    busy_start: int
    busy_end: int
    reason: str
    recurrence_id: int | None = None


@dataclass(frozen=True, slots=True)
class BusyRules:
    """Whose calendar it is and how it counts.

    ``zone`` is the principal's; ``owner_addresses`` are lower case without ``mailto:``;
    ``all_day`` is the calendar's choice; ``always_busy`` is for appointments, which block
    whatever they say unless they are cancelled (R17).
    """

    zone: ZoneInfo
    owner_addresses: frozenset[str] = frozenset()
    all_day: AllDay = "as-marked"
    always_busy: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in an object that could not be understood or had to be forgiven.

    ``start`` and ``end`` are the span that became unknown (UTC epoch seconds), both None when
    nothing did. ``detail`` is for a person and never holds a title, a place or an address.
    """

    code: str
    detail: str
    start: int | None = None
    end: int | None = None


NOT_UNDERSTOOD = frozenset(
    {
        "not-icalendar",
        "bad-start",
        "bad-end",
        "end-before-start",
        "mixed-times",
        "unknown-zone",
        "bad-rule",
        "bad-rdate",
        "rdate-by-day",
        "bad-freebusy",
        "truncated",
        "too-many-instances",
        "not-understood",
        "expansion-failed",
    }
)
"""Codes of problems that make time unknown or keep an object from being placed at all."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """All instances of one object that touch ``window``, sorted by start.

    ``open_ended``: there may be more after the window. ``zone_dependent``: floating or all-day
    times were read in the principal's zone. ``first_start`` and ``last_end`` bound the whole object
    (None: unbounded or not known).
    """

    instances: tuple[Instance, ...]
    problems: tuple[Problem, ...]
    window: Interval
    recurring: bool = False
    open_ended: bool = False
    zone_dependent: bool = False
    component: str = ""
    first_start: int | None = None
    last_end: int | None = None

    @property
    def gravest(self) -> Problem | None:
        """The problem to tell of: one that left something not understood before one forgiven."""
        grave = (problem for problem in self.problems if problem.code in NOT_UNDERSTOOD)
        return next(grave, self.problems[0] if self.problems else None)

    @property
    def first_span(self) -> Interval | None:
        """The whole first instance in the window, else the bounds; None without a start.

        Rows of instances are cut after a week, so they do not tell how long one lasts.
        """
        if self.instances:
            return min((instance.start, instance.end) for instance in self.instances)
        if self.first_start is None:
            return None
        return self.first_start, self.last_end or self.first_start
