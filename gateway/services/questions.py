"""Questions about somebody's time as callers put them: whose it may be, how large, what comes back.

Each is one read unit; nothing is locked or written. The window and the policy are the caller's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.availability.merge import BusyRow
from gateway.core.availability.policy import Policy
from gateway.core.availability.slots import SlotRules
from gateway.core.availability.timeline import FreeBusy
from gateway.core.errors import GatewayError, InvalidInput, NotFound
from gateway.core.intervals import DAY, Interval, clip, merge
from gateway.services.access.people import PersonRef, find_person
from gateway.services.availability import Explanation, explain, free_busy
from gateway.services.schedules.schedules import find_named_people
from gateway.services.schedules.slot_reasons import SlotVerdict, judge_slot
from gateway.services.schedules.slots import SlotQuestion, Slots, find_common_slots
from gateway.store.access.principals import Principal, find_principals, get_principal
from gateway.store.booking.schedules import FreeBusyToken, Schedule, find_token
from gateway.store.engine import Session
from gateway.store.objects.instances import count_blocking

MAX_PERIODS = 100_000
"""So many periods one answer may hold, days counted too: some ten megabytes."""
COARSE_S = 1_800


def check_size(
    session: Session,
    principal_ids: Sequence[str],
    window: Interval,
    *,
    by_day: bool = False,
    pointer: str,
) -> None:
    """Raise :class:`InvalidInput` when an answer may hold more than :data:`MAX_PERIODS`.

    Counted is what lies in the window, before it is merged. ``by_day`` says each period again and
    each day of each person.
    """
    days = len(principal_ids) * -(-(window[1] - window[0]) // DAY) if by_day else 0
    most = max(0, MAX_PERIODS - days) // (2 if by_day else 1)
    if days > MAX_PERIODS or count_blocking(session, principal_ids, window, most=most + 1) > most:
        raise InvalidInput(
            f"The answer could hold more than {MAX_PERIODS:,} periods; ask about fewer people or"
            " fewer days at a time.",
            code="answer-too-large",
            pointer=pointer,
        )


# --- free/busy ---


def ask_person(
    session: Session,
    who: PersonRef,
    window: Interval,
    policy: Policy,
    *,
    by_day: bool = False,
    now: int,
) -> tuple[Principal, FreeBusy]:
    """Return when a person is busy.

    Raises :class:`NotFound` for somebody the caller cannot see, ``answer-too-large`` as
    :func:`check_size` does, and what :func:`free_busy` raises.
    """
    principal = find_person(session, who)
    check_size(session, [principal.id], window, by_day=by_day, pointer="/end")
    return principal, free_busy(session, principal, window, policy, now=now)


def people_to_ask(
    session: Session,
    wanted: Sequence[str],
    window: Interval,
    *,
    bound: str | None,
    by_day: bool = False,
) -> dict[str, Principal]:
    """Return those whom the caller may ask about, once the answer is known to be small enough.

    Raises :class:`InvalidInput` ``answer-too-large``.
    """
    known = find_principals(session, wanted, subaccount_id=bound)
    check_size(session, list(known), window, by_day=by_day, pointer="/principals")
    return known


def ask_people(
    session: Session,
    people: Sequence[Principal],
    window: Interval,
    policy: Policy,
    *,
    now: int,
) -> dict[str, FreeBusy | GatewayError]:
    """Return when several are busy; whose time must not be unknown and is fails alone."""
    answers: dict[str, FreeBusy | GatewayError] = {}
    for principal in people:
        try:
            answers[principal.id] = free_busy(session, principal, window, policy, now=now)
        except GatewayError as error:
            if error.code != "availability-unknown":
                raise
            answers[principal.id] = error
    return answers


def ask_names(
    session: Session,
    ids: Mapping[str, str],
    window: Interval,
    policy: Policy,
    *,
    now: int,
) -> dict[str, list[Interval]]:
    """Return the merged busy time of people by the names they were found by (``ids``).

    Who was deleted meanwhile is left out. Raises :class:`InvalidInput` ``answer-too-large``.
    """
    people = find_principals(session, list(ids.values()))
    check_size(session, list(people), window, pointer="/items")
    busy: dict[str, list[Interval]] = {}
    for name, principal_id in ids.items():
        person = people.get(principal_id)
        if person is not None:
            found = free_busy(session, person, window, policy, now=now)
            busy[name] = merge((start, end) for start, end, _status in found.busy)
    return busy


# --- the public address ---


@dataclass(frozen=True, slots=True)
class PublicAnswer:
    """What a public address shows: busy time, and whether all of the window is known."""

    token: FreeBusyToken
    busy: list[BusyRow]
    complete: bool


def ask_public(
    session: Session,
    secret: str,
    window: Interval,
    policy: Policy,
    *,
    user: str | None,
    now: int,
) -> PublicAnswer | None:
    """Return what the address with this secret shows; None when there is no such address.

    A coarse one shows busy time rounded outwards to half hours in UTC, of one status; the rounding
    is done before the window cuts, so that no choice of windows finds an edge (R26). A ``user``
    that is not the person of the address gets :class:`NotFound` instead of a wrong answer. Raises
    :class:`InvalidInput` ``answer-too-large``.
    """
    token = find_token(session, secret)
    if token is None:
        return None
    principal = get_principal(session, token.principal_id)
    if not _is_called(principal, user):
        raise no_address()
    check_size(session, [principal.id], window, pointer="/end")
    if token.detail == "exact":
        found = free_busy(session, principal, window, policy, now=now)
        return PublicAnswer(token, list(found.busy), found.complete)
    found = free_busy(session, principal, _outwards(window), policy, now=now)
    rounded = merge(_outwards((start, end)) for start, end, _status in found.busy)
    busy: list[BusyRow] = [(start, end, "busy") for start, end in clip(rounded, window)]
    return PublicAnswer(token, busy, found.complete)


def no_address() -> NotFound:
    """Return the refusal of an address that nobody has."""
    return NotFound("There is no such free/busy address.")


def _is_called(principal: Principal, name: str | None) -> bool:
    """Whether a name is that of the person; no name is everybody's."""
    if name is None or name in (principal.id, principal.external_id, principal.email):
        return True
    return principal.email is not None and name.lower() == principal.email.lower()


def _outwards(interval: Interval) -> Interval:
    start, end = interval
    return (start - start % COARSE_S, end + -end % COARSE_S)


# --- slots ---


MakeRules = Callable[[Sequence[Principal]], tuple[SlotRules, int | None]]
"""Makes rules, and how many people are needed (None: all), once the people are known."""


def ask_slots(
    session: Session,
    named: Mapping[str, str],
    make_rules: MakeRules,
    window: Interval,
    question: SlotQuestion,
    *,
    personal_hours: bool,
    bound: str | None,
) -> tuple[Slots, SlotRules]:
    """Return when several people are free together, and by which rules.

    Raises what :func:`find_named_people`, ``make_rules`` and :func:`find_common_slots` raise.
    """
    people = find_named_people(session, named, bound=bound)
    rules, at_least = make_rules(people)
    found = find_common_slots(
        session,
        people,
        rules,
        window,
        question,
        at_least=at_least,
        personal_hours=personal_hours,
    )
    return found, rules


# --- why ---


def explain_person(
    session: Session, who: PersonRef, window: Interval, policy: Policy, *, now: int
) -> tuple[Principal, Explanation]:
    """Say why a person's time is blocked, unknown or free (R25); raises :class:`NotFound`."""
    principal = find_person(session, who)
    return principal, explain(session, principal, window, policy, now=now)


def explain_slot(
    session: Session, schedule: Schedule, start: int, question: SlotQuestion, policy: Policy
) -> tuple[SlotVerdict, dict[str, Explanation]]:
    """Say why a schedule offers a slot or not, and explain the time of each person in it, by id.

    ``policy`` is that of the explanations; the verdict is by the question's.
    """
    verdict = judge_slot(session, schedule, start, question)
    explained = {
        one.principal.id: explain(
            session, one.principal, verdict.looked_at, policy, now=question.now
        )
        for one in verdict.people
    }
    return verdict, explained
