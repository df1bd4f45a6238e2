"""The one reading of what blocks a person, and the questions asked of it (R22-R27).

:func:`load` reads rows that were computed when objects were written, living holds and the state
of each source, and makes a :class:`Timeline` of them; everything else here, and every face, asks
that. Nothing here parses iCalendar, calls iCloud or sees a title.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from gateway.core.availability.policy import OnTentative, OnUnknown, Policy
from gateway.core.availability.sources import Source, SourceState, oldest_age
from gateway.core.availability.timeline import (
    ALWAYS,
    PLAIN,
    FreeBusy,
    HeldTime,
    Timeline,
    build_timeline,
)
from gateway.core.errors import PassingConflict, SlotTaken
from gateway.core.intervals import DAY, Interval, clip, complement, intersect, merge
from gateway.settings import Settings
from gateway.store.access.principals import Principal, get_principal
from gateway.store.booking.bookings import holds_in
from gateway.store.engine import Session
from gateway.store.objects.instances import Reason, busy_spans, list_sources, reasons_in
from gateway.store.objects.objects import Extent, StoredObject, get_extent

MOST_ROWS = 100_000
"""Whoever has more at once is not kept in memory; no answer holds more periods either."""
USUAL_BEFORE_S, USUAL_AFTER_S = 8 * DAY, 100 * DAY
"""What nearly every question is about; reading a year for it would cost four times more."""
NEXT_WITHIN_S = 14 * DAY
_FOREVER = 2**40


def policy_of(
    settings: Settings, on_unknown: OnUnknown = "block", on_tentative: OnTentative = "block"
) -> Policy:
    """Return the policy of a question asked of this installation."""
    return Policy(on_unknown, on_tentative, settings.fresh_for_s)


# --- reading ---


def load(
    session: Session,
    principal_id: str,
    window: Interval,
    *,
    now: int,
    without_object: str | None = None,
    extent: Extent | None = None,
) -> Timeline:
    """Read what blocks a person in ``window``; one object can be left out.

    Five statements, each by an index, linear in the person's rows in the window. Whoever is about
    to write calls it after :func:`lock_principal`, with the extent if that is known by then.
    ``now`` and the window are UTC epoch seconds.
    """
    sources = list_sources(session, principal_id)
    revision, coverage = extent or get_extent(session, principal_id)
    return build_timeline(
        busy_spans(session, principal_id, window, _ids(sources), without_object=without_object),
        window,
        holds=_living(session, principal_id, window, now),
        sources=sources,
        coverage=coverage,
        revision=revision,
    )


def load_calendar(
    session: Session, principal_id: str, collection_id: str, window: Interval
) -> Timeline:
    """Read what one calendar alone blocks, whether it counts for the person or not; no holds."""
    everything = list_sources(session, principal_id, blocking=False)
    revision, coverage = get_extent(session, principal_id)
    return build_timeline(
        busy_spans(session, principal_id, window, [collection_id]),
        window,
        sources=[source for source in everything if source.collection_id == collection_id],
        coverage=coverage,
        revision=revision,
    )


def load_to_keep(
    session: Session, principal_id: str, *, now: int, usual: bool = False
) -> tuple[Principal, Timeline]:
    """Read all of a person's expanded time, or with ``usual`` the weeks around ``now``.

    For those who keep it in memory and ask it again. Raises :class:`NotFound`, and
    :class:`TooManyRows` beyond :data:`MOST_ROWS`.
    """
    principal = get_principal(session, principal_id)
    sources = list_sources(session, principal_id)
    revision, coverage = get_extent(session, principal_id)
    span = coverage or ALWAYS
    if usual:
        around = (now - USUAL_BEFORE_S, now + USUAL_AFTER_S)
        span = next(iter(clip([around], span)), span)
    timeline = build_timeline(
        busy_spans(session, principal_id, span, _ids(sources), most=MOST_ROWS),
        span,
        holds=_living(session, principal_id, span, now),
        sources=sources,
        coverage=coverage,
        revision=revision,
    )
    return principal, timeline


def blocking_calendars(session: Session, principal_id: str) -> list[str]:
    """Return the ids of the collections that count for a person, for :func:`blocking_time`."""
    return _ids(list_sources(session, principal_id))


def blocking_time(
    session: Session,
    principal_id: str,
    window: Interval,
    collection_ids: Collection[str],
    *,
    only_object: str | None = None,
    without_object: str | None = None,
) -> list[Interval]:
    """Return what the objects of some calendars block in ``window``, merged; no holds."""
    found = busy_spans(
        session,
        principal_id,
        window,
        collection_ids,
        only_object=only_object,
        without_object=without_object,
    )
    return merge(chain.from_iterable(found.values()))


def time_of_object(session: Session, stored: StoredObject, window: Interval) -> list[Interval]:
    """Return when one object blocks in ``window``, merged."""
    own = [stored.collection_id]
    return blocking_time(session, stored.principal_id, window, own, only_object=stored.id)


def _ids(sources: Sequence[Source]) -> list[str]:
    return [source.collection_id for source in sources]


def _living(session: Session, principal_id: str, window: Interval, now: int) -> list[HeldTime]:
    return [
        HeldTime(hold.start, hold.end, hold.id, hold.expires_at)
        for hold in holds_in(session, principal_id, window, now=now)
    ]


# --- when is somebody busy ---


def free_busy(
    session: Session,
    principal: Principal,
    window: Interval,
    policy: Policy = PLAIN,
    *,
    now: int,
) -> FreeBusy:
    """Merge what blocks the principal in ``window`` over all sources, with the truth about each.

    Raises :class:`StateConflict` ``availability-unknown`` when unknown time is to fail and the
    answer is not complete.
    """
    return load(session, principal.id, window, now=now).answer(window, policy, now=now)


def oldest_source_age(session: Session, principal_id: str, *, now: int) -> int | None:
    """Return the age in seconds of the calendar that blocks and is furthest behind (R28).

    None when one of them was never read, or none of iCloud's blocks.
    """
    return oldest_age(list_sources(session, principal_id), now=now)


# --- is it free ---


def check_span_free(
    session: Session,
    principal_id: str,
    spans: list[Interval],
    *,
    now: int,
    without_object: str | None = None,
    extent: Extent | None = None,
) -> Timeline | None:
    """Raise :class:`SlotTaken` when a span touches busy or held time, and :class:`StateConflict`
    ``availability-unknown`` when it touches time of which a source says nothing (R25, R27).

    Call it inside the unit that writes, after :func:`lock_principal`. ``spans`` are merged; without
    any nothing is asked. Returns what was read.
    """
    if not spans:
        return None
    window = (spans[0][0], spans[-1][1])
    timeline = load(
        session, principal_id, window, now=now, without_object=without_object, extent=extent
    )
    if intersect(spans, timeline.taken(window)):
        length = spans[0][1] - spans[0][0]
        raise SlotTaken(
            "This time is taken; nothing was booked.",
            next_free=next_free(session, principal_id, length, after=spans[0][0], now=now),
        )
    if intersect(spans, clip(timeline.unknown(window, now=now), (now, _FOREVER))):
        raise PassingConflict(
            "It is not known whether this time is free: a calendar has no current data, or the "
            "time is farther ahead than the gateway looks.",
            code="availability-unknown",
        )
    return timeline


def next_free(
    session: Session, principal_id: str, length: int, *, after: int, now: int, count: int = 3
) -> tuple[Interval, ...]:
    """Return the next times of ``length`` seconds that nothing blocks, within two weeks."""
    window = (max(after, now), max(after, now) + NEXT_WITHIN_S)
    timeline = load(session, principal_id, window, now=now)
    blocked = merge([*timeline.taken(window), *timeline.unknown(window, now=now)])
    gaps = complement(clip(blocked, window), window)
    return tuple((start, start + length) for start, end in gaps if end - start >= length)[:count]


# --- why ---


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a window is blocked, unknown or free: the answer, and each row behind it.

    ``collections`` are the sources by the id that the reasons name; ``truncated`` when there are
    more rows than shown.
    """

    answer: FreeBusy
    reasons: tuple[Reason, ...]
    collections: Mapping[str, SourceState]
    holds: tuple[HeldTime, ...]
    truncated: bool


def explain(
    session: Session,
    principal: Principal,
    window: Interval,
    policy: Policy = PLAIN,
    *,
    now: int,
    limit: int = 500,
) -> Explanation:
    """List every row behind the answer for ``window``, with rule, source and age; no titles."""
    timeline = load(session, principal.id, window, now=now)
    answer = timeline.answer(window, policy, now=now)
    ids = _ids(timeline.sources)
    found = reasons_in(session, principal.id, window, ids, limit=limit + 1)
    return Explanation(
        answer=answer,
        reasons=tuple(found[:limit]),
        collections=dict(zip(ids, answer.sources, strict=True)),
        holds=timeline.holds,
        truncated=len(found) > limit,
    )
