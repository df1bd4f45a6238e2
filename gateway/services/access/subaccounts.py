"""Subaccounts: the tenants of a platform.

A caller is bound to one subaccount or to none (``bound`` None, which sees them all). What belongs
to another is not there for it.
"""

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import NotAllowed, NotFound, ReferenceNotFound
from gateway.store.access import principals
from gateway.store.access.principals import Subaccount
from gateway.store.engine import Session
from gateway.store.operations import erasing


def create_subaccount(
    session: Session, *, name: str, external_id: str | None = None, bound: str | None, now: int
) -> Subaccount:
    """Create a subaccount; raises :class:`NotAllowed` for a caller that is bound to one."""
    _check_unbound(bound)
    return principals.create_subaccount(session, name=name, external_id=external_id, now=now)


def get_subaccount(session: Session, subaccount_id: str, *, bound: str | None) -> Subaccount:
    """Return one subaccount; raises :class:`NotFound`, also for one the caller is not bound to."""
    if bound not in (None, subaccount_id):
        raise NotFound("There is no such subaccount.")
    return principals.get_subaccount(session, subaccount_id)


def change_subaccount(
    session: Session, subaccount_id: str, changes: Mapping[str, Any], *, bound: str | None
) -> Subaccount:
    """Change name or external id; raises :class:`NotFound` as :func:`get_subaccount` does."""
    get_subaccount(session, subaccount_id, bound=bound)
    principals.update_subaccount(session, subaccount_id, changes)
    return principals.get_subaccount(session, subaccount_id)


def retire_subaccount(session: Session, subaccount_id: str, *, bound: str | None, now: int) -> None:
    """Hide a subaccount with everything in it at once; the rows are erased afterwards.

    Everybody in it is locked, in the order of ids. Raises :class:`NotFound` for one the caller
    cannot see, and :class:`NotAllowed` for a caller that is bound to one.
    """
    if bound not in (None, subaccount_id):
        raise NotFound("There is no such subaccount.")
    _check_unbound(bound)
    erasing.retire_subaccount(session, subaccount_id, now=now)


def check_named(session: Session, subaccount_id: str) -> None:
    """Raise :class:`ReferenceNotFound` when what a body names is no subaccount."""
    if not principals.list_subaccounts(session, only=subaccount_id):
        raise no_subaccount()


def no_subaccount() -> ReferenceNotFound:
    """Return the refusal of a subaccount this caller cannot name."""
    return ReferenceNotFound("There is no such subaccount.", pointer="/subaccount")


def _check_unbound(bound: str | None) -> None:
    if bound is not None:
        raise NotAllowed("This needs an admin key that is not bound to a subaccount.")
