"""Schedules, what a booking page offers (R23).

A caller sees the schedules of the subaccount it is bound to (``bound``), with None all of them.
"""

from collections.abc import Callable, Mapping, Sequence

from gateway.core.errors import InvalidInput, ReferenceNotFound
from gateway.store.access.principals import Principal, find_principals
from gateway.store.booking import schedules
from gateway.store.booking.schedules import Offer, Schedule
from gateway.store.engine import Session

MakeOffer = Callable[[Sequence[Principal]], Offer]
"""Makes an offer of what was asked for, once the people are known: their zone is the default."""


def find_named_people(
    session: Session, named: Mapping[str, str], *, bound: str | None
) -> list[Principal]:
    """Return the people a body names, in its order; ``named`` has the JSON pointer of each id.

    Raises :class:`ReferenceNotFound` for one the caller cannot see, and :class:`InvalidInput`
    ``subaccounts-mixed`` when they are not all of one subaccount.
    """
    known = find_principals(session, list(named), subaccount_id=bound)
    for name, pointer in named.items():
        if name not in known:
            raise ReferenceNotFound("There is no such principal.", pointer=pointer)
        if known[name].subaccount_id != known[next(iter(named))].subaccount_id:
            raise InvalidInput(
                "These people belong to different subaccounts.",
                code="subaccounts-mixed",
                pointer=pointer,
            )
    return [known[name] for name in named]


def create_schedule(
    session: Session,
    named: Mapping[str, str],
    make_offer: MakeOffer,
    *,
    bound: str | None,
    now: int,
) -> Schedule:
    """Create a schedule in the subaccount of its people.

    Raises what :func:`find_named_people` and ``make_offer`` raise.
    """
    people = find_named_people(session, named, bound=bound)
    subaccount_id = people[0].subaccount_id
    return schedules.create_schedule(session, subaccount_id, make_offer(people), now=now)


def replace_schedule(
    session: Session,
    schedule_id: str,
    named: Mapping[str, str],
    make_offer: MakeOffer,
    *,
    bound: str | None,
    now: int,
) -> Schedule:
    """Put another offer in the place of a schedule's, also of one that cannot be read any more.

    Its people are of the schedule's subaccount. Raises :class:`NotFound`, and what
    :func:`create_schedule` raises.
    """
    owner = schedules.find_owner(session, schedule_id, subaccount_id=bound)
    people = find_named_people(session, named, bound=owner)
    schedules.replace_schedule(session, schedule_id, make_offer(people), now=now)
    return schedules.get_schedule(session, schedule_id)


def delete_schedule(session: Session, schedule_id: str, *, bound: str | None) -> None:
    """Remove a schedule, also a damaged one; what was booked stays. Raises :class:`NotFound`."""
    schedules.find_owner(session, schedule_id, subaccount_id=bound)
    schedules.delete_schedule(session, schedule_id)
