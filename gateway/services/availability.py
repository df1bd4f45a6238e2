"""When a principal is busy, and what is not known about it (R22-R26).

A read of rows that were computed when objects were written: nothing here parses iCalendar, calls
iCloud or sees a title. Besides busy and free there is a third value, *unknown*: time for which a
source cannot be believed or was never read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gateway.core.availability.merge import BusyRow, OnTentative, coalesce_rows
from gateway.core.errors import PassingConflict, SlotTaken
from gateway.core.intervals import Interval, clip, complement, intersect, merge
from gateway.core.status import FBType
from gateway.store.access.principals import Principal
from gateway.store.accounts.calendars import member_problem
from gateway.store.booking.bookings import Hold, holds_in
from gateway.store.engine import Session
from gateway.store.objects.instances import Reason, Source, busy_rows, list_sources, reasons_in
from gateway.store.objects.objects import StoredObject, get_coverage, get_generation

OnUnknown = Literal["block", "tentative", "ignore", "fail"]
State = Literal["fresh", "stale", "failed", "syncing", "never"]

FRESH_FOR_S = 900
NEXT_WITHIN_S = 14 * 86_400
_FOREVER = 2**40
_LOCAL_ROLES = ("platform", "local")


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known about one source.

    ``problem`` is a stable code or None; of an object that could not be understood it is the
    reason and the object's id, ``bad-end: obj_…``.

    ``unknown`` is the part of the asked window in which the source says nothing, merged: outside
    its known busy time that part is neither busy nor free. ``catching_up``: a member that iCloud
    lists could not be read yet (R9), so what is known may lack something anywhere.
    """

    calendar: str
    role: str
    state: State
    synced_at: int | None
    age_s: int | None
    problem: str | None
    unknown: tuple[Interval, ...] = ()
    catching_up: bool = False


@dataclass(frozen=True, slots=True)
class FreeBusy:
    """Merged busy time of one principal; times are UTC epoch seconds, ends exclusive.

    ``busy`` holds ``(start, end, status)``, sorted and without overlaps. ``complete`` is false
    exactly when part of the window is unknown, whatever the policies made of it, or a source is
    catching up. ``holds`` are the
    ids of the living holds in the window: they end without a new ``revision``.
    """

    start: int
    end: int
    time_zone: str
    revision: int
    complete: bool
    on_unknown: OnUnknown
    on_tentative: OnTentative
    busy: tuple[BusyRow, ...]
    sources: tuple[SourceState, ...]
    holds: tuple[str, ...] = ()


def free_busy(
    session: Session,
    principal: Principal,
    window: Interval,
    *,
    now: int,
    on_unknown: OnUnknown = "block",
    on_tentative: OnTentative = "block",
    time_zone: str | None = None,
    fresh_for_s: int = FRESH_FOR_S,
) -> FreeBusy:
    """Merge what blocks the principal in ``window`` over all sources, with the truth about each.

    Raises :class:`Conflict` ``availability-unknown`` when ``on_unknown`` is ``fail`` and part of
    the answer is not complete.
    """
    sources = list_sources(session, principal.id)
    states = source_states(session, principal.id, sources, window, now=now, fresh_for_s=fresh_for_s)
    held = holds_in(session, principal.id, window, now=now)
    rows = _rows(session, principal.id, window, sources, held)
    rows += [(*span, FBType.UNKNOWN) for state in states for span in state.unknown]
    exact = coalesce_rows(rows, window)
    complete = not any(state.catching_up for state in states)
    complete = complete and all(status != "unknown" for _, _, status in exact)
    if on_unknown == "fail" and not complete:
        raise _unknown(states)
    policy: Literal["block", "tentative", "ignore"] = (
        "block" if on_unknown == "fail" else on_unknown
    )
    as_asked = (
        exact
        if (policy, on_tentative) == ("block", "block")
        else coalesce_rows(rows, window, on_unknown=policy, on_tentative=on_tentative)
    )
    return FreeBusy(
        start=window[0],
        end=window[1],
        time_zone=time_zone or principal.time_zone,
        revision=get_generation(session, principal.id),
        complete=complete,
        on_unknown=on_unknown,
        on_tentative=on_tentative,
        busy=tuple(as_asked),
        sources=tuple(states),
        holds=tuple(hold.id for hold in held),
    )


def _rows(
    session: Session,
    principal_id: str,
    window: Interval,
    sources: list[Source],
    held: Iterable[Hold],
) -> list[tuple[int, int, str]]:
    """Return all that blocks: instances of the sources, and living holds."""
    ids = [source.collection_id for source in sources]
    rows = busy_rows(session, principal_id, window, ids)
    found: list[tuple[int, int, str]] = [(start, end, fbtype) for start, end, fbtype, _ in rows]
    found += [(hold.start, hold.end, FBType.BUSY) for hold in held]
    return found


def _unknown(states: list[SourceState]) -> PassingConflict:
    names = ", ".join(state.calendar for state in states if state.unknown or state.catching_up)
    reason = f" Sources without current data: {names}." if names else ""
    return PassingConflict(
        f"Part of the asked time is unknown, and on_unknown is fail.{reason}",
        code="availability-unknown",
    )


# --- sources ---


def source_states(
    session: Session,
    principal_id: str,
    sources: list[Source],
    window: Interval,
    *,
    now: int,
    fresh_for_s: int = FRESH_FOR_S,
) -> list[SourceState]:
    """Say of each source how current it is and which part of ``window`` it cannot answer (R25)."""
    coverage = get_coverage(session, principal_id)
    return judge_sources(sources, window, coverage, now=now, fresh_for_s=fresh_for_s)


def judge_sources(
    sources: Iterable[Source],
    window: Interval,
    coverage: Interval | None,
    *,
    now: int,
    fresh_for_s: int = FRESH_FOR_S,
) -> list[SourceState]:
    """Like :func:`source_states`, for a known coverage (None: nothing is expanded yet)."""
    beyond = [] if coverage is None else complement(intersect([window], [coverage]), window)
    return [_source_state(source, window, beyond, now, fresh_for_s) for source in sources]


def next_judgement(sources: Iterable[Source], *, now: int, fresh_for_s: int) -> int:
    """Return the first second after ``now`` in which time alone may change a state (R25)."""
    return min(
        (
            source.synced_at + limit + 1
            for source in sources
            if source.synced_at is not None
            for limit in (fresh_for_s, source.trust_for_s or 0)
            if source.synced_at + limit >= now
        ),
        default=2**53,
    )


def _source_state(
    source: Source, window: Interval, beyond: list[Interval], now: int, fresh_for_s: int
) -> SourceState:
    problem = "beyond-window" if beyond else source.not_understood
    if source.role in _LOCAL_ROLES:
        return SourceState(
            source.calendar_id, source.role, "fresh", None, 0, problem, tuple(beyond)
        )
    age = None if source.synced_at is None else max(0, now - source.synced_at)
    state = _state(source, age, fresh_for_s)
    return SourceState(
        calendar=source.calendar_id,
        role=source.role,
        state=state,
        synced_at=source.synced_at,
        age_s=age,
        problem=_problem(source, state) or problem,
        unknown=_unknown_of(source, age, window, beyond),
        catching_up=source.catching_up > 0 and source.state != "gone",
    )


def _unknown_of(
    source: Source, age: int | None, window: Interval, beyond: list[Interval]
) -> tuple[Interval, ...]:
    """Return the part of ``window`` the source cannot answer: all of it, or what is out of reach.

    A first sync that is still running answers for the near future it has read already.
    """
    if _is_believed(source, age):
        return tuple(beyond)
    if age is None and source.reached is not None:
        return tuple(merge([*complement([source.reached], window), *beyond]))
    return (window,)


def _state(source: Source, age: int | None, fresh_for_s: int) -> State:
    if age is None:
        return {"syncing": "syncing", "failed": "failed"}.get(source.state, "never")  # type: ignore[return-value]
    if source.state == "gone":
        return "failed"
    if age <= fresh_for_s:
        return "fresh"
    return "failed" if source.state == "failed" else "stale"


def _is_believed(source: Source, age: int | None) -> bool:
    """Tell whether the last known data still stands for the time outside it.

    A calendar that is proved gone has nothing to tell any more: its time is free (R11).
    """
    if source.state == "gone":
        return True
    return age is not None and age <= (source.trust_for_s or 0)


def _problem(source: Source, state: State) -> str | None:
    if source.problem is not None:
        return source.problem
    if source.state == "gone":
        return "calendar-gone"
    if source.connection_state not in (None, "ok"):
        return source.connection_state
    of_age = {"stale": "stale", "never": "never-synced", "syncing": "first-sync"}.get(state)
    return of_age or member_problem(source.catching_up, source.set_aside)


def oldest_source_age(session: Session, principal_id: str, *, now: int) -> int | None:
    """Return the age in seconds of the calendar that blocks and is furthest behind (R28).

    None when one of them was never read, or none of iCloud's blocks.
    """
    ages: list[int] = []
    for source in list_sources(session, principal_id):
        if source.role in _LOCAL_ROLES or source.state == "gone":
            continue
        if source.synced_at is None:
            return None
        ages.append(max(0, now - source.synced_at))
    return max(ages, default=None)


# --- is it free ---


def check_span_free(
    session: Session,
    principal_id: str,
    spans: list[Interval],
    *,
    now: int,
    without_object: str | None = None,
    without_hold: str | None = None,
) -> None:
    """Raise :class:`SlotTaken` when a span touches busy or held time, and :class:`Conflict`
    ``availability-unknown`` when it touches time of which a source says nothing (R25, R27).

    Call it inside the unit that writes, after :func:`lock_principal`. ``spans`` are merged.
    """
    if not spans:
        return
    window = (spans[0][0], spans[-1][1])
    taken, unknown = _time_taken(
        session,
        principal_id,
        window,
        now=now,
        without_object=without_object,
        without_hold=without_hold,
    )
    if intersect(spans, taken):
        length = spans[0][1] - spans[0][0]
        raise SlotTaken(
            "This time is taken; nothing was booked.",
            next_free=next_free(session, principal_id, length, after=spans[0][0], now=now),
        )
    if intersect(spans, clip(unknown, (now, _FOREVER))):
        raise PassingConflict(
            "It is not known whether this time is free: a calendar has no current data, or the "
            "time is farther ahead than the gateway looks.",
            code="availability-unknown",
        )


def next_free(
    session: Session, principal_id: str, length: int, *, after: int, now: int, count: int = 3
) -> tuple[Interval, ...]:
    """Return the next times of ``length`` seconds that nothing blocks, within two weeks."""
    window = (max(after, now), max(after, now) + NEXT_WITHIN_S)
    taken, unknown = _time_taken(session, principal_id, window, now=now)
    gaps = complement(clip(merge([*taken, *unknown]), window), window)
    return tuple((start, start + length) for start, end in gaps if end - start >= length)[:count]


def _time_taken(
    session: Session,
    principal_id: str,
    window: Interval,
    *,
    now: int,
    without_object: str | None = None,
    without_hold: str | None = None,
) -> tuple[list[Interval], list[Interval]]:
    """Return what is busy or held, and what is unknown, both merged."""
    sources = list_sources(session, principal_id)
    ids = [source.collection_id for source in sources]
    rows = busy_rows(session, principal_id, window, ids, without_object=without_object)
    taken = [(start, end) for start, end, _fbtype, _collection in rows]
    held = holds_in(session, principal_id, window, now=now)
    taken += [(hold.start, hold.end) for hold in held if hold.id != without_hold]
    states = source_states(session, principal_id, sources, window, now=now)
    return merge(taken), merge(span for state in states for span in state.unknown)


def time_of_object(session: Session, stored: StoredObject, window: Interval) -> list[Interval]:
    """Return when one object blocks in ``window``, merged."""
    rows = busy_rows(
        session, stored.principal_id, window, [stored.collection_id], only_object=stored.id
    )
    return merge((start, end) for start, end, _fbtype, _collection in rows)


# --- why ---


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a window is blocked, unknown or free; ``truncated`` when there are more rows."""

    reasons: tuple[Reason, ...]
    sources: tuple[SourceState, ...]
    collections: dict[str, SourceState]
    holds: tuple[tuple[int, int, str], ...]
    truncated: bool


def explain(
    session: Session,
    principal: Principal,
    window: Interval,
    *,
    now: int,
    limit: int = 500,
    fresh_for_s: int = FRESH_FOR_S,
) -> Explanation:
    """List every row behind the answer for ``window``, with rule, source and age; no titles."""
    sources = list_sources(session, principal.id)
    states = source_states(session, principal.id, sources, window, now=now, fresh_for_s=fresh_for_s)
    by_collection = {
        source.collection_id: state for source, state in zip(sources, states, strict=True)
    }
    found = reasons_in(session, principal.id, window, list(by_collection), limit=limit + 1)
    held = holds_in(session, principal.id, window, now=now)
    return Explanation(
        reasons=tuple(found[:limit]),
        sources=tuple(states),
        collections=by_collection,
        holds=tuple((hold.start, hold.end, hold.id) for hold in held),
        truncated=len(found) > limit,
    )
