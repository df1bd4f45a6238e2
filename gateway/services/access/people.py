"""People: who is here, by whose choice, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import InvalidInput
from gateway.services.access.subaccounts import check_named, no_subaccount
from gateway.store.access import principals
from gateway.store.access.principals import Cursor, Principal
from gateway.store.engine import Session, lock_principal
from gateway.store.operations import erasing


@dataclass(frozen=True, slots=True)
class PersonRef:
    """A person as a caller names one; ``bound`` is the subaccount the caller is bound to.

    None sees everybody. Somebody of another subaccount is not there for the caller.
    """

    id: str
    bound: str | None = None


def find_person(session: Session, who: PersonRef) -> Principal:
    """Return the person; raises :class:`NotFound`, also for somebody of another subaccount."""
    return principals.get_principal(session, who.id, subaccount_id=who.bound)


def list_people(
    session: Session,
    *,
    bound: str | None,
    subaccount_id: str | None = None,
    external_id: str | None = None,
    after: Cursor | None = None,
    limit: int | None = None,
) -> list[Principal]:
    """List the people a caller can see, oldest first; nobody of a subaccount it is not bound to."""
    if bound is not None and subaccount_id not in (None, bound):
        return []
    return principals.list_principals(
        session,
        subaccount_id=bound or subaccount_id,
        external_id=external_id,
        after=after,
        limit=limit,
    )


def create_person(
    session: Session,
    *,
    subaccount_id: str | None,
    bound: str | None,
    name: str,
    time_zone: str,
    email: str | None = None,
    external_id: str | None = None,
    now: int,
) -> Principal:
    """Create a person with a calendar home, in the caller's subaccount unless it names one.

    Raises :class:`InvalidInput` ``subaccount-required`` when neither says which, and
    :class:`ReferenceNotFound` for one the caller cannot name.
    """
    if bound is not None and subaccount_id not in (None, bound):
        raise no_subaccount()
    chosen = bound or subaccount_id
    if chosen is None:
        raise InvalidInput(
            "Name the subaccount; this key is not bound to one.",
            code="subaccount-required",
            pointer="/subaccount",
        )
    check_named(session, chosen)
    return principals.create_principal(
        session,
        subaccount_id=chosen,
        name=name,
        time_zone=time_zone,
        email=email,
        external_id=external_id,
        now=now,
    )


def create_person_at_home(session: Session, *, name: str, time_zone: str, now: int) -> Principal:
    """Create a person for whoever is at the machine: in the first subaccount, made if need be."""
    known = principals.list_subaccounts(session, limit=1)
    home = known[0] if known else principals.create_subaccount(session, name="default", now=now)
    return principals.create_principal(
        session, subaccount_id=home.id, name=name, time_zone=time_zone, now=now
    )


def change_person(session: Session, who: PersonRef, changes: Mapping[str, Any]) -> Principal:
    """Change columns of a person, who is locked; raises :class:`NotFound`.

    With a new zone, all-day and floating times are expanded anew; until then time is unknown.
    """
    found = find_person(session, who)
    lock_principal(session, found.id)
    principals.update_principal(session, found.id, changes)
    return principals.get_principal(session, found.id)


def retire_person(session: Session, who: PersonRef, *, now: int) -> None:
    """Hide a person with calendars, logins, account and all that was pushed or waits for it.

    Nobody finds them any more from now on; the rows of a large calendar are erased a little later.
    The person is locked. Raises :class:`NotFound`.
    """
    erasing.retire_principal(session, find_person(session, who).id, now=now)
