"""Which slots are on offer: the rules of a schedule over the busy time of its people (R23-R27).

Busy time comes from :func:`gateway.services.availability.free_busy`, the one engine of every face,
or from a timeline in memory that holds the same; unknown and tentative time count as the policies
say, unknown blocks by default (R25). No title, no source and no reason passes here (R26).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gateway.core.availability.slots import (
    SlotRules,
    bookable_window,
    local_date,
    midnight,
    open_starts,
    slot_starts,
)
from gateway.core.intervals import Interval
from gateway.services.availability import FRESH_FOR_S, OnUnknown, free_busy
from gateway.services.timeline import Timeline
from gateway.store.access.principals import Principal, find_principals
from gateway.store.booking.schedules import OnTentative, Schedule, booked_starts
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
class Question:
    """How unknown and tentative time count, and what is known without asking the database.

    ``timelines`` are current ones by principal id; whoever is not in it is read.
    """

    now: int
    on_unknown: OnUnknown = "block"
    on_tentative: OnTentative = "block"
    fresh_for_s: int = FRESH_FOR_S
    timelines: Mapping[str, Timeline] = field(default_factory=dict)


def find_common_slots(
    session: Session,
    people: Sequence[Principal],
    rules: SlotRules,
    window: Interval,
    question: Question,
    *,
    at_least: int | None = None,
    personal_hours: bool = False,
) -> Slots:
    """Return when ``at_least`` that many of the people are free together, None being all.

    With ``personal_hours`` each person's own working hours stand in for those of the rules, whose
    overrides still replace their dates; who has none offers nothing. Raises :class:`Conflict`
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
    session: Session, person: Principal, window: Interval, question: Question
) -> tuple[list[Interval], bool]:
    """Return what is taken in ``window``, and whether all of it is known."""
    timeline = question.timelines.get(person.id)
    remembered = None if timeline is None else _remembered(timeline, window, question)
    if remembered is not None:
        return remembered
    found = free_busy(
        session,
        person,
        window,
        now=question.now,
        on_unknown=question.on_unknown,
        on_tentative=question.on_tentative,
        fresh_for_s=question.fresh_for_s,
    )
    return [(start, end) for start, end, _status in found.busy], found.complete


def _remembered(
    timeline: Timeline, window: Interval, question: Question
) -> tuple[list[Interval], bool] | None:
    """Return the same from memory, or None when more than the timeline decides.

    That is so when a source cannot be believed, and when unknown time is not to block: it may
    hide tentative time, which the merged rows do not have any more.
    """
    states = timeline.states(window, now=question.now, fresh_for_s=question.fresh_for_s)
    if states is None:
        return None
    if timeline.is_catching_up and question.on_unknown == "fail":
        return None
    busy: list[Interval] = []
    complete = not timeline.is_catching_up
    for number in timeline.between(window):
        start, end, status = timeline.row(number)
        if status == "unknown":
            if question.on_unknown != "block":
                return None
            complete = False
        if status != "tentative" or question.on_tentative == "block":
            busy.append((start, end))
    return busy, complete


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
    session: Session, schedule: Schedule, window: Interval, question: Question
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
