"""What is known about each calendar that counts: its state, its age, what it cannot answer (R25).

A source whose data cannot be believed, or was never read, makes time *unknown*: outside of its
known busy time that part is neither busy nor free.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from gateway.core.availability.policy import Policy
from gateway.core.intervals import Interval, complement, intersect, merge

State = Literal["fresh", "stale", "failed", "syncing", "never"]

CATCHING_UP = "catching-up"
SET_ASIDE = "member-set-aside"
_LOCAL_ROLES = ("platform", "local")


@dataclass(frozen=True, slots=True)
class Source:
    """A calendar that counts for availability, with what is known about its freshness.

    ``role`` is ``linked``, ``conflict``, ``platform`` or ``local``; ``synced_at`` is UTC epoch
    seconds of the last good sync, None when there was none; local sources are always current.
    ``trust_for_s`` is how long stale data of the connection is believed, None for local ones.
    ``reached`` is the span that a running first sync has mirrored already. ``catching_up`` and
    ``set_aside`` count its members that could not be read (R9), ``not_understood`` names one that
    was read and not understood, with the reason.
    """

    collection_id: str
    calendar_id: str
    role: str
    state: str
    synced_at: int | None
    problem: str | None
    trust_for_s: int | None = None
    connection_state: str | None = None
    reached: Interval | None = None
    catching_up: int = 0
    set_aside: int = 0
    not_understood: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether its objects are kept here alone: it is always current."""
        return self.role in _LOCAL_ROLES

    @property
    def is_catching_up(self) -> bool:
        """Whether it has members that could not be read yet: no answer is complete (R9)."""
        return self.catching_up > 0 and self.state != "gone"

    def verified(self, at: int) -> "Source":
        """Return the source as it is when a poll found all calendars of its account current.

        The same as :func:`gateway.store.objects.freshness.synced_at` says in the database.
        """
        if self.synced_at is None or self.synced_at >= at or self.state in ("gone", "never"):
            return self
        return replace(self, synced_at=at)


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known about one source at one moment.

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


def judge_sources(
    sources: Iterable[Source], window: Interval, coverage: Interval, policy: Policy, *, now: int
) -> list[SourceState]:
    """Say of each source how current it is and which part of ``window`` it cannot answer (R25).

    ``coverage`` is the span over which everything is expanded; ``now`` is UTC epoch seconds.
    """
    beyond = complement(intersect([window], [coverage]), window)
    return [_judge(source, window, beyond, policy, now) for source in sources]


def next_judgement(sources: Iterable[Source], policy: Policy, *, now: int) -> int:
    """Return the first second after ``now`` in which time alone may change a state (R25)."""
    return min(
        (
            source.synced_at + limit + 1
            for source in sources
            if source.synced_at is not None
            for limit in (policy.fresh_for_s, source.trust_for_s or 0)
            if source.synced_at + limit >= now
        ),
        default=2**53,
    )


def oldest_age(sources: Iterable[Source], *, now: int) -> int | None:
    """Return the age in seconds of the calendar of iCloud's that is furthest behind.

    None when one of them was never read, or there is none.
    """
    ages: list[int] = []
    for source in sources:
        if source.is_local or source.state == "gone":
            continue
        if source.synced_at is None:
            return None
        ages.append(max(0, now - source.synced_at))
    return max(ages, default=None)


def member_problem(catching_up: int, set_aside: int) -> str | None:
    """Return the code of a calendar's unread members, by their counts (R9)."""
    return CATCHING_UP if catching_up else SET_ASIDE if set_aside else None


def _judge(
    source: Source, window: Interval, beyond: list[Interval], policy: Policy, now: int
) -> SourceState:
    problem = "beyond-window" if beyond else source.not_understood
    if source.is_local:
        return SourceState(
            source.calendar_id, source.role, "fresh", None, 0, problem, tuple(beyond)
        )
    age = None if source.synced_at is None else max(0, now - source.synced_at)
    state = _state(source, age, policy)
    return SourceState(
        calendar=source.calendar_id,
        role=source.role,
        state=state,
        synced_at=source.synced_at,
        age_s=age,
        problem=_problem(source, state) or problem,
        unknown=_unknown_of(source, age, window, beyond),
        catching_up=source.is_catching_up,
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


def _state(source: Source, age: int | None, policy: Policy) -> State:
    if age is None:
        return {"syncing": "syncing", "failed": "failed"}.get(source.state, "never")  # type: ignore[return-value]
    if source.state == "gone":
        return "failed"
    if age <= policy.fresh_for_s:
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
