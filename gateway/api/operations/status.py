"""Handlers: how things stand, and what waits for a person."""

from collections.abc import Mapping

from gateway.api.accounts.connection import show_account
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
from gateway.services.accounts import views
from gateway.services.outbox import pushes
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage
from gateway.store.outbox.overview import Scope

Plain = Call[NoQuery, None]


def _push_counts(counts: Mapping[str, int]) -> PushCounts:
    return PushCounts(pending=counts.get("pending", 0), parked=counts.get("parked", 0))


async def get_status(call: Plain) -> Result:
    """Return the counts of everything this key can see."""
    counts = await call.read(views.count_all, Scope(subaccount_id=call.bound))
    states = counts.accounts
    return Status(
        principals=counts.principals,
        connections=ConnectionCounts(
            ok=states.get("ok", 0),
            credential_revoked=states.get("credential-revoked", 0),
            secret_unreadable=states.get("secret-unreadable", 0),
            paused=states.get("paused", 0),
            disconnected=states.get("disconnected", 0),
            with_problem=counts.troubled,
        ),
        oldest_sync_at=render_known(counts.oldest_sync),
        pushes=_push_counts(counts.pushes),
        problems=counts.problems,
    )


async def get_principal_status(call: Plain) -> Result:
    """Return the account, its calendars with their progress, pushes and problems of a person."""
    person = await call.read(views.view_person, call.person, now=call.now)
    return PrincipalStatus(
        principal=person.principal.id,
        connection=None if person.account is None else show_account(person.account),
        pushes=_push_counts(person.pushes),
        problems=[
            ProblemObject(
                object=found.id,
                calendar=found.collection_id,
                code=found.problem or "",
                detail=found.problem_detail,
            )
            for found in person.problems
        ],
        overlaps=[
            Overlap(appointment=identity, start=render_instant(start), end=render_instant(end))
            for identity, (start, end) in person.overlaps
        ],
    )


# --- pushes ---


def _show_push(push: tuple[OutboxMessage, LedgerRow]) -> PushOut:
    message, ledger = push
    return PushOut(
        id=str(message.id),
        principal=ledger.principal_id,
        action=message.action,
        state=message.state,
        reason=message.reason,
        detail=message.detail,
        attempts=message.attempts,
        due_at=render_instant(int(message.due_at)),
        created_at=render_instant(message.created_at),
        object=ledger.object_id,
        calendar=ledger.upstream_calendar_id,
    )


async def list_pushes(call: Call[PushQuery, None]) -> Result:
    """List what is pending or parked, oldest first."""
    query = call.query
    scope = Scope(subaccount_id=call.bound, principal_id=query.principal)
    found = await call.read(views.waiting_pushes, scope, state=query.state, limit=query.limit)
    return PushList(pushes=[_show_push(one) for one in found])


def _message_id(call: Plain) -> int:
    text = call.path("push")
    if not text.isdigit() or len(text) > 18:
        raise NotFound("There is no such push, or it is done.")
    return int(text)


async def retry_push(call: Plain) -> Result:
    """Try a parked push again now."""
    scope = Scope(subaccount_id=call.bound)
    return await call.answer(_show_push, pushes.retry_push, scope, _message_id(call), now=call.now)


async def drop_push(call: Plain) -> Result:
    """Give a parked push up: iCloud stays as it is."""
    scope = Scope(subaccount_id=call.bound)
    await call.commit(pushes.drop_push, scope, _message_id(call), now=call.now)
    return None
