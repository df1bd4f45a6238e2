"""What ``gateway doctor`` looks for, over everybody: a few statements each, paged by key.

Every function returns (code, id, sentence). None decrypts and none reads a body. People and
calendars that are being erased need nobody any more and are left out.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, or_, select

from gateway.store.accounts import members
from gateway.store.accounts.leases import POLLED_STATES
from gateway.store.engine import Session
from gateway.store.objects.collections import GOING
from gateway.store.objects.freshness import synced_at
from gateway.store.outbox.overview import Scope, narrow
from gateway.store.tables import (
    connections,
    generations,
    objects,
    outbox,
    push_ledger,
    unread_members,
    upstream_calendars,
)

Found = tuple[str, str, str]

PAGE = 500
_LIVE = connections.c.state != "disconnected"


def paged(session: Session, query: Select[Any], key: Any) -> Iterator[Any]:
    """Yield all rows of a query in pages by its unique ``key``; doctor runs beside the rest."""
    page = session.execute(query.order_by(key).limit(PAGE)).all()
    while page:
        yield from page
        last = getattr(page[-1], key.key)
        page = session.execute(query.where(key > last).order_by(key).limit(PAGE)).all()


def troubled_accounts(session: Session) -> list[Found]:
    """Accounts that are not polled, or whose last run did not end well."""
    row = connections.c
    query = select(row.id, row.principal_id, row.state, row.problem, row.problem_detail).where(
        _LIVE, or_(row.state != "ok", row.problem.is_not(None))
    )
    return [
        (one.problem or one.state, one.principal_id, one.problem_detail or one.state)
        for one in paged(session, query, row.id)
    ]


def is_worker_needed(session: Session) -> bool:
    """Tell whether there is an account to sync, so that a worker should run."""
    polled = connections.c.state.in_(POLLED_STATES)
    return session.execute(select(connections.c.id).where(polled).limit(1)).first() is not None


def accounts_with_secrets(session: Session) -> list[tuple[str, str]]:
    """Return (connection id, principal id) of the accounts that should have a readable secret."""
    query = select(connections.c.id, connections.c.principal_id).where(
        _LIVE, connections.c.state != "secret-unreadable"
    )
    return [(row.id, row.principal_id) for row in paged(session, query, connections.c.id)]


def troubled_calendars(session: Session, *, now: int, fresh_for_s: int) -> list[Found]:
    """Chosen calendars with a problem, and those that were not read for too long."""
    row = upstream_calendars.c
    query = (
        select(row.id, row.state, row.problem, row.problem_detail, synced_at())
        .join(connections, connections.c.id == row.connection_id)
        .where(
            _LIVE,
            row.role.in_(("linked", "conflict")),
            or_(
                row.problem.is_not(None),
                row.state.in_(("failed", "gone")),
                synced_at() < now - fresh_for_s,
            ),
        )
    )
    return [_calendar(one, now) for one in paged(session, query, row.id)]


def _calendar(row: Any, now: int) -> Found:
    if row.problem or row.state in ("failed", "gone"):
        return row.problem or row.state, row.id, row.problem_detail or row.state
    return "source-stale", row.id, f"last read {now - row.synced_at} s ago"


def members_set_aside(session: Session) -> list[Found]:
    """Members of calendars that cannot be read, for good as it seems (R9)."""
    row = unread_members.c
    calendars = (
        select(row.upstream_calendar_id)
        .join(upstream_calendars, upstream_calendars.c.id == row.upstream_calendar_id)
        .join(connections, connections.c.id == upstream_calendars.c.connection_id)
        .where(_LIVE, row.state == "set-aside")
        .distinct()
    )
    return [
        (one.problem, f"{one.upstream_calendar_id}/{one.name}", one.detail)
        for calendar in session.execute(calendars).scalars().all()
        for one in members.list_unread(session, calendar).values()
        if one.state == "set-aside"
    ]


def short_windows(session: Session, *, until: int) -> list[Found]:
    """People whose objects are not expanded up to ``until``, which the worker should have done."""
    row = generations.c
    query = select(row.principal_id).where(row.covered_until < until)
    detail = "times are unknown from there on: does a worker run?"
    return [
        ("window-not-extended", one.principal_id, detail)
        for one in paged(session, query, row.principal_id)
    ]


def parked_pushes(session: Session) -> list[Found]:
    """Pushes that wait for a person."""
    row = outbox.c
    query: Select[Any] = (
        select(row.id, row.ledger_id, row.reason, row.detail)
        .join(push_ledger, push_ledger.c.id == row.ledger_id)
        .where(row.state == "parked")
    )
    query = narrow(query, push_ledger.c.principal_id, Scope())
    return [
        (one.reason or "push-parked", one.ledger_id, one.detail or "parked")
        for one in paged(session, query, row.id)
    ]


def late_pushes(session: Session, *, before: float) -> list[Found]:
    """Pushes of working accounts that were due before a time and were never tried."""
    row = outbox.c
    query = (
        select(row.id, row.ledger_id)
        .join(connections, connections.c.id == row.connection_id)
        .where(
            row.state == "pending",
            row.attempts == 0,
            row.due_at < before,
            connections.c.state == "ok",
        )
    )
    return [
        ("push-late", one.ledger_id, "due for minutes and not tried: does a worker run?")
        for one in paged(session, query, row.id)
    ]


def odd_objects(session: Session) -> list[Found]:
    """Objects that could not be understood."""
    row = objects.c
    query: Select[Any] = select(
        row.id, row.collection_id, row.name, row.problem, row.problem_detail
    ).where(row.problem.is_not(None), row.collection_id.not_in(GOING))
    query = narrow(query, row.principal_id, Scope())
    return [
        (one.problem, f"{one.collection_id}/{one.name}", one.problem_detail or "")
        for one in paged(session, query, row.id)
    ]
