"""Counts and lists across principals: what the status and push calls show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select

from gateway.core.errors import NotFound
from gateway.store.engine import Session
from gateway.store.objects.collections import GOING
from gateway.store.objects.freshness import synced_at
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage
from gateway.store.tables import (
    connections,
    objects,
    outbox,
    principals,
    push_ledger,
    upstream_calendars,
)

_MESSAGE = tuple(outbox.c[name] for name in OutboxMessage.__dataclass_fields__)
_LEDGER = tuple(push_ledger.c[name] for name in LedgerRow.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows count: one principal, the principals of one subaccount, or all of them."""

    subaccount_id: str | None = None
    principal_id: str | None = None


def narrow(query: Select[Any], principal_id: Any, scope: Scope) -> Select[Any]:
    """Keep the rows of the principals in scope; ``principal_id`` is the column that names them.

    Rows of people who are being erased are in no scope.
    """
    if scope.principal_id is not None:
        query = query.where(principal_id == scope.principal_id)
    if scope.subaccount_id is not None:
        mine = select(principals.c.id).where(
            principals.c.subaccount_id == scope.subaccount_id, principals.c.erased_at.is_(None)
        )
        return query.where(principal_id.in_(mine))
    going = select(principals.c.id).where(principals.c.erased_at.is_not(None))
    return query.where(principal_id.not_in(going))


def count_principals(session: Session, scope: Scope) -> int:
    """Count the principals in scope."""
    query = narrow(select(func.count()).select_from(principals), principals.c.id, scope)
    return int(session.execute(query).scalar_one())


def count_connections(session: Session, scope: Scope) -> Mapping[str, int]:
    """Count the connections in scope by state."""
    query = select(connections.c.state, func.count()).group_by(connections.c.state)
    rows = session.execute(narrow(query, connections.c.principal_id, scope))
    return {row[0]: row[1] for row in rows}


def count_troubled(session: Session, scope: Scope) -> int:
    """Count the live connections in scope whose last run did not end well."""
    query = select(func.count()).where(
        connections.c.problem.is_not(None), connections.c.state != "disconnected"
    )
    return int(session.execute(narrow(query, connections.c.principal_id, scope)).scalar_one())


def oldest_sync(session: Session, scope: Scope) -> int | None:
    """Return when the mirrored calendar that is furthest behind was found current.

    The account's own state says nothing of its calendars: of a live one each may fail by itself.
    """
    query = (
        select(func.min(synced_at()))
        .join(connections, connections.c.id == upstream_calendars.c.connection_id)
        .where(
            connections.c.state == "ok",
            upstream_calendars.c.role.in_(("linked", "conflict")),
            upstream_calendars.c.state != "gone",
        )
    )
    found = session.execute(narrow(query, connections.c.principal_id, scope)).scalar()
    return None if found is None else int(found)


def count_messages(session: Session, scope: Scope) -> Mapping[str, int]:
    """Count the messages in scope by state: pending, parked."""
    query = (
        select(outbox.c.state, func.count())
        .join(push_ledger, push_ledger.c.id == outbox.c.ledger_id)
        .group_by(outbox.c.state)
    )
    rows = session.execute(narrow(query, push_ledger.c.principal_id, scope))
    return {row[0]: row[1] for row in rows}


def count_problems(session: Session, scope: Scope) -> int:
    """Count the objects in scope that could not be understood."""
    query = (
        select(func.count())
        .select_from(objects)
        .where(objects.c.problem.is_not(None), objects.c.collection_id.not_in(GOING))
    )
    return int(session.execute(narrow(query, objects.c.principal_id, scope)).scalar_one())


def messages_in(
    session: Session, scope: Scope, *, state: str | None = None, limit: int
) -> list[tuple[OutboxMessage, LedgerRow]]:
    """List what is pending or parked in scope, oldest first."""
    query = narrow(_messages(), push_ledger.c.principal_id, scope)
    if state is not None:
        query = query.where(outbox.c.state == state)
    rows = session.execute(query.order_by(outbox.c.id).limit(limit))
    return [_pair(row) for row in rows]


def message_in(session: Session, scope: Scope, message_id: int) -> tuple[OutboxMessage, LedgerRow]:
    """Return one message in scope; raises :class:`NotFound` once it is done."""
    query = narrow(_messages(), push_ledger.c.principal_id, scope)
    row = session.execute(query.where(outbox.c.id == message_id)).first()
    if row is None:
        raise NotFound("There is no such push, or it is done.")
    return _pair(row)


def drop_message(session: Session, message_id: int) -> None:
    """Give a message up."""
    session.execute(delete(outbox).where(outbox.c.id == message_id))


def _messages() -> Select[Any]:
    return select(*_MESSAGE, *_LEDGER).join(push_ledger, push_ledger.c.id == outbox.c.ledger_id)


def _pair(row: Any) -> tuple[OutboxMessage, LedgerRow]:
    width = len(_MESSAGE)
    return OutboxMessage(*row[:width]), LedgerRow(*row[width:])
