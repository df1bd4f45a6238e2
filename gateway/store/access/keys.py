"""API keys: generated secrets stored as SHA-256, scoped, bound to a subaccount or to none.

No cache stands in front of them, so a revocation holds at once in every process.
"""

import secrets as random_source
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Row

from gateway.core.errors import NotFound, StateConflict
from gateway.store.access.principals import get_subaccount, hash_secret
from gateway.store.engine import Session, chunks, new_id
from gateway.store.tables import api_keys


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; ``subaccount_id`` None means every subaccount."""

    id: str
    subaccount_id: str | None
    name: str
    scopes: frozenset[str]
    created_at: int
    last_used_at: int | None


def create_key(
    session: Session, *, name: str, scopes: frozenset[str], subaccount_id: str | None, now: int
) -> tuple[ApiKey, str]:
    """Insert an API key; return it with its secret, which is shown this once only."""
    if subaccount_id is not None:
        get_subaccount(session, subaccount_id)
    secret = "gw_" + random_source.token_urlsafe(24)
    created = ApiKey(new_id("key"), subaccount_id, name, scopes, now, None)
    session.execute(
        insert(api_keys).values(
            id=created.id,
            subaccount_id=subaccount_id,
            name=name,
            secret_hash=hash_secret(secret),
            scopes=" ".join(sorted(scopes)),
            created_at=now,
        )
    )
    return created, secret


def find_key(session: Session, secret: str) -> ApiKey | None:
    """Return the API key with this secret, or None."""
    row = session.execute(
        select(api_keys).where(api_keys.c.secret_hash == hash_secret(secret))
    ).first()
    return _key(row) if row is not None else None


def note_keys_used(session: Session, key_ids: Sequence[str], *, now: int) -> None:
    """Remember when keys were used last."""
    for part in chunks(key_ids):
        session.execute(update(api_keys).where(api_keys.c.id.in_(part)).values(last_used_at=now))


def list_keys(session: Session, *, subaccount_id: str | None = None) -> list[ApiKey]:
    """List the API keys, oldest first, of one subaccount or of all."""
    query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
    if subaccount_id is not None:
        query = query.where(api_keys.c.subaccount_id == subaccount_id)
    return [_key(row) for row in session.execute(query)]


def count_unbound_admins(session: Session) -> int:
    """Return how many keys may do everything: admin keys that are bound to no subaccount."""
    return len(_unbound_admins(session))


def revoke_key(session: Session, key_id: str, *, subaccount_id: str | None = None) -> None:
    """Revoke a key for somebody who holds one; the last that may do everything stays (R46).

    All such keys are locked first: two admins who revoke each other's at once leave one. Raises
    :class:`NotFound`, and :class:`StateConflict` ``last-admin-key``.
    """
    if subaccount_id is None:
        _lock_unbound(session)
        if _unbound_admins(session) == {key_id}:
            raise StateConflict(
                "This is the last key that may do everything; make another first, here or with"
                " `gateway keys --add admin` on the machine.",
                code="last-admin-key",
            )
    delete_key(session, key_id, subaccount_id=subaccount_id)


def delete_key(session: Session, key_id: str, *, subaccount_id: str | None = None) -> None:
    """Revoke a key at once, whichever it is; raises :class:`NotFound`."""
    statement = delete(api_keys).where(api_keys.c.id == key_id)
    if subaccount_id is not None:
        statement = statement.where(api_keys.c.subaccount_id == subaccount_id)
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such key.")


def _lock_unbound(session: Session) -> None:
    unbound = select(api_keys.c.id).where(api_keys.c.subaccount_id.is_(None))
    session.execute(unbound.order_by(api_keys.c.id).with_for_update()).all()


def _unbound_admins(session: Session) -> frozenset[str]:
    unbound = select(api_keys.c.id, api_keys.c.scopes).where(api_keys.c.subaccount_id.is_(None))
    return frozenset(row.id for row in session.execute(unbound) if "admin" in row.scopes.split())


def _key(row: Row[Any]) -> ApiKey:
    scopes = frozenset(row.scopes.split())
    return ApiKey(row.id, row.subaccount_id, row.name, scopes, row.created_at, row.last_used_at)
