"""All busy time of a principal at once, for readers that keep it in memory (design: fast path).

The same rows and the same rules as :func:`gateway.services.availability.free_busy`, merged over
everything that is expanded instead of over one window. Where part of an answer depends on more
than these rows (a source that cannot be believed, a window beyond the expanded span) the timeline
says so and the caller asks the long way.
"""

from dataclasses import dataclass
from itertools import chain

from gateway.core.busy import BusyRow, coalesce_rows
from gateway.core.fbtype import FBType
from gateway.core.intervals import Interval
from gateway.services.availability import SourceState, judge_sources
from gateway.store.bookings import holds_in
from gateway.store.busy import Source, busy_spans, list_sources
from gateway.store.engine import Session
from gateway.store.objects import get_coverage, get_generation
from gateway.store.principals import get_principal

ALWAYS: Interval = (-(2**53), 2**53)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Merged busy time over ``coverage``; times are UTC epoch seconds, ends exclusive.

    ``holds`` are (start, end, id) of the living ones; ``valid_until`` is when the first of them
    expires. The unknown shares of sources are not in ``rows``.
    """

    principal_id: str
    subaccount_id: str
    time_zone: str
    revision: int
    coverage: Interval
    rows: tuple[BusyRow, ...]
    sources: tuple[Source, ...]
    holds: tuple[tuple[int, int, str], ...]
    valid_until: int

    def states(self, window: Interval, *, now: int, fresh_for_s: int) -> list[SourceState] | None:
        """Return the states of the sources, or None when one of them leaves time unknown."""
        if now >= self.valid_until or not _within(window, self.coverage):
            return None
        states = judge_sources(
            self.sources, window, self.coverage, now=now, fresh_for_s=fresh_for_s
        )
        return None if any(state.unknown for state in states) else states


def build_timeline(session: Session, principal_id: str, *, now: int) -> Timeline:
    """Read and merge all busy time of a principal; raises :class:`NotFound`.

    One indexed read, linear in the principal's rows.
    """
    principal = get_principal(session, principal_id)
    sources = list_sources(session, principal_id)
    coverage = get_coverage(session, principal_id) or ALWAYS
    held = holds_in(session, principal_id, coverage, now=now)
    ids = [source.collection_id for source in sources]
    rows = busy_spans(session, principal_id, coverage, ids)
    kept = [(hold.start, hold.end, FBType.BUSY) for hold in held]
    return Timeline(
        principal_id=principal_id,
        subaccount_id=principal.subaccount_id,
        time_zone=principal.time_zone,
        revision=get_generation(session, principal_id),
        coverage=coverage,
        rows=tuple(coalesce_rows(chain(rows, kept), coverage)),
        sources=tuple(sources),
        holds=tuple((hold.start, hold.end, hold.id) for hold in held),
        valid_until=min((hold.expires_at for hold in held), default=ALWAYS[1]),
    )


def _within(inner: Interval, outer: Interval) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]
