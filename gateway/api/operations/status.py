"""Handlers: how things stand, and what waits for a person."""

from collections.abc import Mapping

from gateway.api.accounts.connection import show_connection
from gateway.api.accounts.people import find_own
from gateway.api.accounts.shapes import (
    ConnectionCounts,
    Overlap,
    PrincipalStatus,
    ProblemObject,
    PushCounts,
    PushList,
    PushOut,
    PushQuery,
    Status,
)
from gateway.api.http.routing import Call, Result
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant, render_known
from gateway.core.errors import NotFound
from gateway.services import pushes
from gateway.services.overlaps import overlaps_of
from gateway.store.access.principals import get_principal
from gateway.store.accounts.accounts import find_connection
from gateway.store.engine import Session
from gateway.store.objects.objects import list_problems
from gateway.store.outbox import overview
from gateway.store.outbox.outbox import Errand, LedgerRow

Plain = Call[NoQuery, None]


def _push_counts(counts: Mapping[str, int]) -> PushCounts:
    return PushCounts(pending=counts.get("pending", 0), parked=counts.get("parked", 0))


async def get_status(call: Plain) -> Result:
    """Return the counts of everything this key can see."""
    scope = overview.Scope(subaccount_id=call.key.subaccount_id)

    def unit(session: Session) -> Status:
        states = overview.count_connections(session, scope)
        return Status(
            principals=overview.count_principals(session, scope),
            connections=ConnectionCounts(
                ok=states.get("ok", 0),
                credential_revoked=states.get("credential-revoked", 0),
                secret_unreadable=states.get("secret-unreadable", 0),
                paused=states.get("paused", 0),
                disconnected=states.get("disconnected", 0),
                with_problem=overview.count_troubled(session, scope),
            ),
            oldest_sync_at=render_known(overview.oldest_sync(session, scope)),
            pushes=_push_counts(overview.count_errands(session, scope)),
            problems=overview.count_problems(session, scope),
        )

    return await call.read(unit)


async def get_principal_status(call: Plain) -> Result:
    """Return the account, its calendars with their progress, pushes and problems of a person."""

    def unit(session: Session) -> PrincipalStatus:
        principal = find_own(session, call)
        connection = find_connection(session, principal.id)
        scope = overview.Scope(principal_id=principal.id)
        return PrincipalStatus(
            principal=principal.id,
            connection=show_connection(session, connection) if connection else None,
            pushes=_push_counts(overview.count_errands(session, scope)),
            problems=[
                ProblemObject(
                    object=found.id,
                    calendar=found.collection_id,
                    code=found.problem or "",
                    detail=found.problem_detail,
                )
                for found in list_problems(session, principal.id)
            ],
            overlaps=[
                Overlap(appointment=identity, start=render_instant(start), end=render_instant(end))
                for identity, (start, end) in overlaps_of(session, principal.id, now=call.now)
            ],
        )

    return await call.read(unit)


# --- pushes ---


def _show_push(errand: Errand, ledger: LedgerRow) -> PushOut:
    return PushOut(
        id=str(errand.id),
        principal=ledger.principal_id,
        action=errand.action,
        state=errand.state,
        reason=errand.reason,
        detail=errand.detail,
        attempts=errand.attempts,
        due_at=render_instant(int(errand.due_at)),
        created_at=render_instant(errand.created_at),
        object=ledger.object_id,
        calendar=ledger.upstream_calendar_id,
    )


async def list_pushes(call: Call[PushQuery, None]) -> Result:
    """List what is pending or parked, oldest first."""
    query, bound = call.query, call.key.subaccount_id

    def unit(session: Session) -> PushList:
        if query.principal is not None:
            get_principal(session, query.principal, subaccount_id=bound)
        scope = overview.Scope(subaccount_id=bound, principal_id=query.principal)
        found = overview.errands_in(session, scope, state=query.state, limit=query.limit)
        return PushList(pushes=[_show_push(*pair) for pair in found])

    return await call.read(unit)


def _errand_id(call: Plain) -> int:
    text = call.path("push")
    if not text.isdigit() or len(text) > 18:
        raise NotFound("There is no such push, or it is done.")
    return int(text)


async def retry_push(call: Plain) -> Result:
    """Try a parked push again now."""
    scope, errand_id = overview.Scope(subaccount_id=call.key.subaccount_id), _errand_id(call)
    return await call.commit(
        lambda session: _show_push(*pushes.retry_push(session, scope, errand_id, now=call.now))
    )


async def drop_push(call: Plain) -> Result:
    """Give a parked push up: iCloud stays as it is."""
    scope, errand_id = overview.Scope(subaccount_id=call.key.subaccount_id), _errand_id(call)
    await call.commit(lambda session: pushes.drop_push(session, scope, errand_id, now=call.now))
    return None
