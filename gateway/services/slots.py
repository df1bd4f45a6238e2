"""Which slots are on offer: the rules of a schedule over the busy time of its people (R23-R27).

Busy time comes from :func:`gateway.services.availability.free_busy`, the one engine of every face;
unknown and tentative time count as the policies say, unknown blocks by default (R25). No title, no
source and no reason passes here (R26).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.core.intervals import Interval
from gateway.core.slots import (
    SlotRules,
    bookable_window,
    local_date,
    midnight,
    open_starts,
    slot_starts,
)
from gateway.services.availability import FRESH_FOR_S, OnUnknown, free_busy
from gateway.store.engine import Session
from gateway.store.principals import Principal, find_principals
from gateway.store.schedules import OnTentative, Schedule, booked_starts


@dataclass(frozen=True, slots=True)
class Slot:
    """A time on offer, UTC epoch seconds, with those who are free then, in the asked order."""

    start: int
    end: int
    principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a window; ``complete`` is false when part of what was looked at is unknown.

    Looked at is the window, cut to notice and horizon and widened by the buffers.
    """

    slots: tuple[Slot, ...]
    complete: bool


def find_common_slots(
    session: Session,
    people: Sequence[Principal],
    rules: SlotRules,
    window: Interval,
    *,
    now: int,
    at_least: int | None = None,
    on_unknown: OnUnknown = "block",
    on_tentative: OnTentative = "block",
    fresh_for_s: int = FRESH_FOR_S,
) -> Slots:
    """Return when ``at_least`` that many of the people are free together, None being all.

    Raises :class:`Conflict` ``availability-unknown`` when ``on_unknown`` is ``fail`` and part of
    somebody's time is unknown. Where too few people are left there are no slots.
    """
    low, high = bookable_window(rules, window, now)
    needed = len(people) if at_least is None else at_least
    if low >= high or not 0 < needed <= len(people):
        return Slots((), True)
    starts = slot_starts(rules, (low, high))
    looked_at = (low - rules.buffer_before_s, high + rules.buffer_after_s)
    booked = _booked(session, people, rules, (low, high), now)
    complete = True
    free: dict[str, list[int]] = {}
    for person in people:
        found = free_busy(
            session,
            person,
            looked_at,
            now=now,
            on_unknown=on_unknown,
            on_tentative=on_tentative,
            fresh_for_s=fresh_for_s,
        )
        complete = complete and found.complete
        busy = [(start, end) for start, end, _status in found.busy]
        free[person.id] = open_starts(rules, starts, busy, booked.get(person.id, ()))
        if needed == len(people):
            starts = free[person.id]
    if needed == len(people):
        everybody = tuple(free)
        slots = tuple(Slot(start, start + rules.duration_s, everybody) for start in starts)
    else:
        slots = _shared(free, needed, rules.duration_s)
    return Slots(slots, complete)


def _shared(free: dict[str, list[int]], needed: int, duration_s: int) -> tuple[Slot, ...]:
    """Keep the starts that enough people share."""
    who: dict[int, list[str]] = {}
    for principal_id, starts in free.items():
        for start in starts:
            who.setdefault(start, []).append(principal_id)
    return tuple(
        Slot(start, start + duration_s, tuple(who[start]))
        for start in sorted(who)
        if len(who[start]) >= needed
    )


def _booked(
    session: Session, people: Sequence[Principal], rules: SlotRules, window: Interval, now: int
) -> dict[str, list[int]]:
    """Return what counts against the limits, over the whole weeks the window touches."""
    if rules.limit_per_day is None and rules.limit_per_week is None:
        return {}
    first = local_date(window[0], rules.zone) - timedelta(days=7)
    last = local_date(window[1], rules.zone) + timedelta(days=7)
    span = (midnight(first, rules.zone), midnight(last, rules.zone))
    return booked_starts(session, [person.id for person in people], span, now=now)


def find_schedule_slots(
    session: Session,
    schedule: Schedule,
    window: Interval,
    *,
    now: int,
    on_unknown: OnUnknown | None = None,
    on_tentative: OnTentative | None = None,
    fresh_for_s: int = FRESH_FOR_S,
) -> Slots:
    """Return the slots of a schedule; a policy given here stands in for the schedule's own."""
    offer = schedule.offer
    known = find_principals(session, offer.principal_ids, subaccount_id=schedule.subaccount_id)
    return find_common_slots(
        session,
        [known[one] for one in offer.principal_ids if one in known],
        offer.rules,
        window,
        now=now,
        at_least=offer.at_least,
        on_unknown=on_unknown or offer.on_unknown,
        on_tentative=on_tentative or offer.on_tentative,
        fresh_for_s=fresh_for_s,
    )
