"""Handlers: what was dropped when an appointment changed on both sides (R17)."""

from typing import Any

from gateway.api.booking.conflict_shapes import ConflictQuery, ResolveConflict
from gateway.api.http.routing import Call, Result, json_answer
from gateway.api.wire.paging import link_next
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant, render_known
from gateway.services import conflicts
from gateway.services.conflicts import ConflictSide
from gateway.store.booking.conflicts import ShownConflict
from gateway.store.outbox.overview import Scope

Plain = Call[NoQuery, None]


def _show(listed: ShownConflict) -> dict[str, Any]:
    record, appointment_id = listed
    return {
        "id": record.id,
        "principal": record.principal_id,
        "appointment": appointment_id,
        "kind": record.kind,
        "dropped": record.dropped,
        "created_at": render_instant(record.created_at),
        "resolved_at": render_known(record.resolved_at),
        "resolution": record.resolution,
    }


def _show_version(version: ConflictSide, *, with_texts: bool) -> dict[str, Any]:
    title, description, location = version.texts if with_texts else (None, None, None)
    return {
        "start": render_known(version.start),
        "end": render_known(version.end),
        "recurring": version.recurring,
        "title": title,
        "description": description,
        "location": location,
    }


async def list_conflicts(call: Call[ConflictQuery, None]) -> Result:
    """List what a person should look at, oldest first."""
    query = call.query
    found = await call.read(
        conflicts.list_conflicts,
        Scope(subaccount_id=call.bound, principal_id=query.principal),
        with_resolved=query.resolved,
        after=query.cursor,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    last = page[-1][0] if len(found) > query.limit else None
    cursor = f"{last.created_at}-{last.id}" if last else None
    body = {"conflicts": [_show(row) for row in page], "next": cursor}
    return json_answer(body, headers=link_next(call.request, cursor))


async def get_conflict(call: Plain) -> Result:
    """Return one conflict with both versions; texts are for administrators."""
    with_texts = "admin" in call.key.scopes
    scope = Scope(subaccount_id=call.bound)
    found = await call.read(conflicts.view_conflict, scope, call.path("conflict"), now=call.now)
    stands = found.stands
    return {
        **_show((found.record, found.appointment_id)),
        "stands": _show_version(stands, with_texts=with_texts) if stands else None,
        "was_dropped": _show_version(found.dropped, with_texts=with_texts),
    }


async def resolve_conflict(call: Call[NoQuery, ResolveConflict]) -> Result:
    """Leave it as it is, or make the dropped change again; that one goes to iCloud by itself."""
    return await call.answer(
        _show,
        conflicts.resolve,
        Scope(subaccount_id=call.bound),
        call.path("conflict"),
        call.body.resolution,
        allow_overlap=call.body.allow_overlap,
        now=call.now,
    )
