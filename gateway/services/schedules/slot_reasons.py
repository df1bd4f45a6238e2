"""Why a slot is on offer or not: the rules that forbid it, and what each person is busy with.

It goes the same way as :mod:`gateway.services.schedules.slots`, for one start; a test holds both
together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.availability.slot_reasons import missed_hours, missed_window, reached_limits
from gateway.core.availability.slots import SlotRules
from gateway.core.intervals import Interval
from gateway.services.schedules.slots import SlotQuestion, booked_in, own_rules, taken_time
from gateway.store.access.principals import Principal, find_principals
from gateway.store.booking.schedules import Schedule
from gateway.store.engine import Session


@dataclass(frozen=True, slots=True)
class PersonVerdict:
    """One person and a slot: free, or the rules against it (``busy`` for the time itself)."""

    principal: Principal
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlotVerdict:
    """A slot with its buffers (``looked_at``), the rules against it, and each person's verdict.

    ``complete`` is false when part of ``looked_at`` is unknown for somebody.
    """

    start: int
    end: int
    looked_at: Interval
    against: tuple[str, ...]
    people: tuple[PersonVerdict, ...]
    offered: bool
    complete: bool


def judge_slot(
    session: Session, schedule: Schedule, start: int, question: SlotQuestion
) -> SlotVerdict:
    """Tell whether a schedule offers a slot at ``start``, and everything that speaks against it."""
    offer, rules = schedule.offer, schedule.offer.rules
    known = find_principals(session, offer.principal_ids, subaccount_id=schedule.subaccount_id)
    people = [known[one] for one in offer.principal_ids if one in known]
    end = start + rules.duration_s
    looked_at = (start - rules.buffer_before_s, end + rules.buffer_after_s)
    against = missed_window(rules, start, question.now)
    if not offer.personal_hours:
        against += missed_hours(rules, start)
    needed = len(people) if offer.at_least is None else offer.at_least
    if not 0 < needed <= len(people):
        against.append("too-few-people")
    verdicts, complete = _judge_people(session, schedule, people, start, looked_at, question)
    free = sum(not verdict.against for verdict in verdicts)
    offered = not against and free >= needed
    return SlotVerdict(start, end, looked_at, tuple(against), verdicts, offered, complete)


def _judge_people(
    session: Session,
    schedule: Schedule,
    people: Sequence[Principal],
    start: int,
    looked_at: Interval,
    question: SlotQuestion,
) -> tuple[tuple[PersonVerdict, ...], bool]:
    offer, rules = schedule.offer, schedule.offer.rules
    own = own_rules(session, people, rules) if offer.personal_hours else {}
    booked = booked_in(session, people, rules, (start, start + rules.duration_s), question.now)
    complete = True
    verdicts = []
    for person in people:
        against = _missed_own_hours(own.get(person.id), start) if offer.personal_hours else []
        busy, all_known = taken_time(session, person, looked_at, question)
        complete = complete and all_known
        if any(begin < looked_at[1] and looked_at[0] < until for begin, until in busy):
            against.append("busy")
        against += reached_limits(rules, start, booked.get(person.id, ()))
        verdicts.append(PersonVerdict(person, tuple(against)))
    return tuple(verdicts), complete


def _missed_own_hours(rules: SlotRules | None, start: int) -> list[str]:
    return ["no-working-hours"] if rules is None else missed_hours(rules, start)
