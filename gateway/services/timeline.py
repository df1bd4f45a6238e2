"""The busy time of a principal at once, for readers that keep it in memory (architecture.md).

The same rows and the same rules as :func:`gateway.services.availability.free_busy`, merged over
months instead of over one window. Where part of an answer depends on more than these rows (a
source that cannot be believed, a window beyond the expanded span) the timeline says so and the
caller asks the long way.
"""

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

from gateway.core.availability.merge import STRENGTH, BusyRow, coalesce_spans
from gateway.core.intervals import Interval, clip
from gateway.core.status import FBType
from gateway.services.availability import SourceState, judge_sources, next_judgement
from gateway.store.access.principals import get_principal
from gateway.store.booking.bookings import holds_in
from gateway.store.engine import Session
from gateway.store.objects.instances import Source, busy_spans, list_sources
from gateway.store.objects.objects import get_extent

ALWAYS: Interval = (-(2**53), 2**53)
MOST_ROWS = 100_000
"""Whoever has more at once is not kept in memory; no answer holds more periods either."""
_DAY_S = 86_400
NEAR_BEFORE_S, NEAR_AFTER_S = 8 * _DAY_S, 100 * _DAY_S
"""What nearly every question is about; reading a year for it would cost four times more."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Merged busy time over ``span``, a part of ``coverage``; UTC epoch seconds, ends exclusive.

    Row ``n`` is ``starts[n]``, ``ends[n]`` and ``STRENGTH[kinds[n]]``: plain arrays, because
    there are many rows of many people. ``holds`` are (start, end, id) of the living ones;
    ``valid_until`` is when the first of them expires. The unknown shares of sources are not in
    the rows.
    """

    principal_id: str
    subaccount_id: str
    time_zone: str
    revision: int
    coverage: Interval
    span: Interval
    starts: "array[int]"
    ends: "array[int]"
    kinds: bytes
    sources: tuple[Source, ...]
    holds: tuple[tuple[int, int, str], ...]
    valid_until: int

    @property
    def is_catching_up(self) -> bool:
        """Whether a source has members that could not be read yet: no answer is complete (R9)."""
        return any(source.catching_up and source.state != "gone" for source in self.sources)

    def holds_window(self, window: Interval) -> bool:
        """Tell whether the rows say all there is about ``window``."""
        return _within(window, self.span)

    def between(self, window: Interval) -> range:
        """Return the numbers of the rows that touch ``window``."""
        return range(bisect_right(self.ends, window[0]), bisect_left(self.starts, window[1]))

    def row(self, number: int) -> BusyRow:
        """Return one row."""
        return self.starts[number], self.ends[number], STRENGTH[self.kinds[number]]

    def verified(self, at: int) -> "Timeline":
        """Return the same busy time with calendars that were found current at ``at`` (R25)."""
        return replace(self, sources=tuple(source.verified(at) for source in self.sources))

    def states(self, window: Interval, *, now: int, fresh_for_s: int) -> list[SourceState] | None:
        """Return the states of the sources, or None when one of them leaves time unknown."""
        if now >= self.valid_until or not _within(window, self.span):
            return None
        states = judge_sources(
            self.sources, window, self.coverage, now=now, fresh_for_s=fresh_for_s
        )
        return None if any(state.unknown for state in states) else states

    def judged_until(self, *, now: int, fresh_for_s: int) -> int:
        """Return until when the states stay what they are now, but for their ages."""
        return min(self.valid_until, next_judgement(self.sources, now=now, fresh_for_s=fresh_for_s))


def build_timeline(
    session: Session, principal_id: str, *, now: int, near: bool = False
) -> Timeline:
    """Read and merge the busy time of a principal.

    Raises :class:`NotFound`, and :class:`TooManyRows` beyond :data:`MOST_ROWS`.

    All that is expanded, or with ``near`` the weeks around ``now``. One indexed read, linear in
    the principal's rows there.
    """
    principal = get_principal(session, principal_id)
    sources = list_sources(session, principal_id)
    revision, covered = get_extent(session, principal_id)
    coverage = covered or ALWAYS
    held = holds_in(session, principal_id, coverage, now=now)
    around = (now - NEAR_BEFORE_S, now + NEAR_AFTER_S)
    span = next(iter(clip([around], coverage)), coverage) if near else coverage
    ids = [source.collection_id for source in sources]
    spans = busy_spans(session, principal_id, span, ids, most=MOST_ROWS)
    spans.setdefault(str(FBType.BUSY), []).extend((hold.start, hold.end) for hold in held)
    rows = coalesce_spans(spans, span)
    return Timeline(
        principal_id=principal_id,
        subaccount_id=principal.subaccount_id,
        time_zone=principal.time_zone,
        revision=revision,
        coverage=coverage,
        span=span,
        starts=array("q", (row[0] for row in rows)),
        ends=array("q", (row[1] for row in rows)),
        kinds=bytes(STRENGTH.index(row[2]) for row in rows),
        sources=tuple(sources),
        holds=tuple((hold.start, hold.end, hold.id) for hold in held),
        valid_until=min((hold.expires_at for hold in held), default=ALWAYS[1]),
    )


def _within(inner: Interval, outer: Interval) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]
