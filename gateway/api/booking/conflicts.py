"""Handlers: what was dropped when an appointment changed on both sides (R17)."""

from typing import Any

from gateway.api.booking.conflict_shapes import ConflictQuery, ResolveConflict
from gateway.api.http.routing import AnyCall, Call, Result, json_answer
from gateway.api.wire.paging import link_next
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant, render_known
from gateway.services import conflicts as service
from gateway.services.conflicts import Version
from gateway.store.access.principals import Principal, get_principal
from gateway.store.booking.conflicts import ConflictRecord, conflict_in, conflicts_in
from gateway.store.engine import Session
from gateway.store.outbox.overview import Scope

Plain = Call[NoQuery, None]


def _show(record: ConflictRecord, appointment_id: str | None) -> dict[str, Any]:
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


def _show_version(version: Version, *, with_texts: bool) -> dict[str, Any]:
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
    query, bound = call.query, call.key.subaccount_id

    def unit(session: Session) -> tuple[list[dict[str, Any]], str | None]:
        if query.principal is not None:
            get_principal(session, query.principal, subaccount_id=bound)
        found = conflicts_in(
            session,
            Scope(subaccount_id=bound, principal_id=query.principal),
            with_resolved=query.resolved,
            after=query.cursor,
            limit=query.limit + 1,
        )
        page = found[: query.limit]
        last = page[-1][0] if len(found) > query.limit else None
        return [_show(*row) for row in page], f"{last.created_at}-{last.id}" if last else None

    shown, cursor = await call.read(unit)
    body = {"conflicts": shown, "next": cursor}
    return json_answer(body, headers=link_next(call.request, cursor))


def _own(session: Session, call: AnyCall) -> tuple[Principal, ConflictRecord, str | None]:
    scope = Scope(subaccount_id=call.key.subaccount_id)
    record, appointment_id = conflict_in(session, scope, call.path("conflict"))
    return get_principal(session, record.principal_id), record, appointment_id


async def get_conflict(call: Plain) -> Result:
    """Return one conflict with both versions; texts are for administrators."""
    with_texts = "admin" in call.key.scopes

    def unit(session: Session) -> dict[str, Any]:
        principal, record, appointment_id = _own(session, call)
        kept = service.kept_object(session, record)
        stands = service.read_version(kept.body, principal, now=call.now) if kept else None
        dropped = service.read_version(record.dropped_body, principal, now=call.now)
        return {
            **_show(record, appointment_id),
            "stands": _show_version(stands, with_texts=with_texts) if stands else None,
            "was_dropped": _show_version(dropped, with_texts=with_texts),
        }

    return await call.read(unit)


async def resolve_conflict(call: Call[NoQuery, ResolveConflict]) -> Result:
    """Leave it as it is, or make the dropped change again; that one goes to iCloud by itself."""
    body = call.body

    def unit(session: Session) -> dict[str, Any]:
        principal, record, _ = _own(session, call)
        service.resolve(
            session,
            principal,
            record,
            body.resolution,
            allow_overlap=body.allow_overlap,
            now=call.now,
        )
        _, resolved, appointment_id = _own(session, call)
        return _show(resolved, appointment_id)

    return await call.commit(unit)
