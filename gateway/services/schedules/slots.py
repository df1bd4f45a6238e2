"""Which slots are on offer: the rules of a schedule over the busy time of its people (R23-R27).

Busy time is what a :class:`Timeline` answers, as for every face: one in memory, or one that is
read for the question; unknown and tentative time count as the policies
say, unknown blocks by default (R25). No title, no source and no reason passes here (R26).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gateway.core.availability.policy import Policy
from gateway.core.availability.slots import (
    SlotRules,
    bookable_window,
    local_date,
    midnight,
    open_starts,
    slot_starts,
)
from gateway.core.availability.timeline import PLAIN, Timeline
from gateway.core.intervals import Interval
from gateway.services.availability import load
from gateway.store.access.principals import Principal, find_principals
from gateway.store.booking.schedules import Schedule, booked_starts
from gateway.store.booking.working_hours import find_weeks
from gateway.store.engine import Session


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


@dataclass(frozen=True, slots=True)
class SlotQuestion:
    """How unknown and tentative time count, and what is known without asking the database.

    ``timelines`` are current ones by principal id; whoever is not in it is read.
    """

    now: int
    policy: Policy = PLAIN
    timelines: Mapping[str, Timeline] = field(default_factory=dict)


def find_common_slots(
    session: Session,
    people: Sequence[Principal],
    rules: SlotRules,
    window: Interval,
    question: SlotQuestion,
    *,
    at_least: int | None = None,
    personal_hours: bool = False,
) -> Slots:
    """Return when ``at_least`` that many of the people are free together, None being all.

    With ``personal_hours`` each person's own working hours stand in for those of the rules, whose
    overrides still replace their dates; who has none offers nothing. Raises :class:`StateConflict`
    ``availability-unknown`` when ``on_unknown`` is ``fail`` and part of somebody's time is unknown.
    Where too few people are left there are no slots.
    """
    low, high = bookable_window(rules, window, question.now)
    needed = len(people) if at_least is None else at_least
    if low >= high or not 0 < needed <= len(people):
        return Slots((), True)
    own = own_rules(session, people, rules) if personal_hours else {}
    narrows = needed == len(people) and not personal_hours
    starts = [] if personal_hours else slot_starts(rules, (low, high))
    looked_at = (low - rules.buffer_before_s, high + rules.buffer_after_s)
    booked = booked_in(session, people, rules, (low, high), question.now)
    complete = True
    free: dict[str, list[int]] = {}
    for person in people:
        if personal_hours:
            starts = slot_starts(own[person.id], (low, high)) if person.id in own else []
        busy, known = taken_time(session, person, looked_at, question)
        complete = complete and known
        free[person.id] = open_starts(rules, starts, busy, booked.get(person.id, ()))
        if narrows:
            starts = free[person.id]
    if narrows:
        everybody = tuple(free)
        slots = tuple(Slot(start, start + rules.duration_s, everybody) for start in starts)
    else:
        slots = _shared(free, needed, rules.duration_s)
    return Slots(slots, complete)


def own_rules(
    session: Session, people: Sequence[Principal], rules: SlotRules
) -> dict[str, SlotRules]:
    """Return the rules with each person's own hours, of those who have some."""
    weeks = find_weeks(session, [person.id for person in people])
    return {
        principal_id: replace(
            rules,
            zone=stored.week.zone,
            weekdays=stored.week.weekdays,
            overrides=tuple({**dict(stored.week.overrides), **dict(rules.overrides)}.items()),
        )
        for principal_id, stored in weeks.items()
    }


def taken_time(
    session: Session, person: Principal, window: Interval, question: SlotQuestion
) -> tuple[list[Interval], bool]:
    """Return what is taken in ``window`` under the policy, and whether all of it is known.

    Raises :class:`StateConflict` ``availability-unknown`` when unknown time is to fail.
    """
    timeline, now = question.timelines.get(person.id), question.now
    if timeline is None or now >= timeline.valid_until or not timeline.covers(window):
        timeline = load(session, person.id, window, now=now)
    found = timeline.answer(window, question.policy, now=now)
    return [(start, end) for start, end, _status in found.busy], found.complete


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


def booked_in(
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
    session: Session, schedule: Schedule, window: Interval, question: SlotQuestion
) -> Slots:
    """Return the slots of a schedule; the policies are those of the question."""
    offer = schedule.offer
    known = find_principals(session, offer.principal_ids, subaccount_id=schedule.subaccount_id)
    people = [known[one] for one in offer.principal_ids if one in known]
    return find_common_slots(
        session,
        people,
        offer.rules,
        window,
        question,
        at_least=offer.at_least,
        personal_hours=offer.personal_hours,
    )
