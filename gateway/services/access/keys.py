"""API keys: what a key may be bound to, and which of them must stay."""

from collections.abc import Collection

from gateway.core.errors import InvalidInput
from gateway.services.access.subaccounts import check_named, no_subaccount
from gateway.store.access import keys
from gateway.store.access.keys import ApiKey
from gateway.store.engine import Session

ADMIN = "admin"
NEEDS_SUBACCOUNT = "Only an admin key may belong to no subaccount; name one"


def create_key(
    session: Session,
    *,
    name: str,
    scopes: Collection[str],
    subaccount_id: str | None,
    bound: str | None,
    now: int,
) -> tuple[ApiKey, str]:
    """Create an API key that is bound to no more than the caller's; returns it with its secret.

    The secret is kept nowhere. Raises :class:`InvalidInput` ``subaccount-required`` when a key
    without the scope ``admin`` would be bound to none, and :class:`ReferenceNotFound` for a
    subaccount the caller cannot name.
    """
    if bound is not None and subaccount_id not in (None, bound):
        raise no_subaccount()
    chosen = bound or subaccount_id
    if chosen is None and ADMIN not in scopes:
        raise InvalidInput(
            f"{NEEDS_SUBACCOUNT}.", code="subaccount-required", pointer="/subaccount"
        )
    if chosen is not None:
        check_named(session, chosen)
    return keys.create_key(
        session, name=name, scopes=frozenset(scopes), subaccount_id=chosen, now=now
    )


def create_admin_key(session: Session, *, name: str, now: int) -> str:
    """Create a key that may do everything, for whoever is at the machine; returns its secret."""
    return create_key(session, name=name, scopes={ADMIN}, subaccount_id=None, bound=None, now=now)[
        1
    ]


def revoke_key(session: Session, key_id: str, *, bound: str | None) -> None:
    """Revoke a key at once; the last that may do everything stays (R46).

    All such keys are locked first. Raises :class:`NotFound`, also for a key of another subaccount,
    and :class:`StateConflict` ``last-admin-key``.
    """
    keys.revoke_key(session, key_id, subaccount_id=bound)


def delete_key(session: Session, key_id: str) -> None:
    """Revoke any key, also the last, for whoever is at the machine and can make another (R46).

    Raises :class:`NotFound`.
    """
    keys.delete_key(session, key_id)
