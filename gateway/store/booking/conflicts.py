"""Conflicts: both sides changed one appointment, and what was dropped of it (R17)."""

from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Select, func, insert, select, tuple_, update

from gateway.core.errors import NotFound
from gateway.store.booking_tables import appointments
from gateway.store.engine import Session, new_id
from gateway.store.outbox.outbox import LedgerRow
from gateway.store.outbox.overview import Scope, narrow
from gateway.store.tables import conflicts

ConflictKind = Literal["time", "text", "deleted-upstream", "deleted-here"]
Side = Literal["local", "upstream"]
Resolution = Literal["kept", "restored"]
"""What a person decided: it stays as it is, or the dropped version is the appointment's again."""

ShownConflict = tuple["ConflictRecord", str | None]
"""A conflict and the id of its appointment, None when that was deleted."""


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """One conflict; ``dropped`` says whose change was not kept, times are UTC epoch seconds."""

    id: str
    principal_id: str
    ledger_id: str
    object_id: str | None
    kind: ConflictKind
    dropped: Side
    created_at: int
    resolved_at: int | None
    resolution: Resolution | None
    dropped_body: bytes = field(repr=False)


_COLUMNS = tuple(conflicts.c[name] for name in ConflictRecord.__dataclass_fields__)


def record_conflict(
    session: Session,
    ledger: LedgerRow,
    *,
    kind: ConflictKind,
    dropped: Side,
    body: bytes,
    now: int,
) -> str:
    """Keep the side of an appointment that did not win; returns the conflict's id."""
    conflict_id = new_id("cfl")
    session.execute(
        insert(conflicts).values(
            id=conflict_id,
            principal_id=ledger.principal_id,
            ledger_id=ledger.id,
            object_id=ledger.object_id,
            kind=kind,
            dropped=dropped,
            dropped_body=body,
            created_at=now,
        )
    )
    return conflict_id


def count_refused(session: Session, ledger_id: str, *, since: int) -> int:
    """Count the times found upstream that were refused since then and nobody decided about."""
    query = select(func.count()).where(
        conflicts.c.ledger_id == ledger_id,
        conflicts.c.kind == "time",
        conflicts.c.dropped == "upstream",
        conflicts.c.created_at > since,
        conflicts.c.resolved_at.is_(None),
    )
    return int(session.execute(query).scalar_one())


def list_conflicts(
    session: Session, principal_id: str, *, with_resolved: bool = False
) -> list[ConflictRecord]:
    """List the conflicts of a principal, oldest first; resolved ones only when asked for."""
    query = select(*_COLUMNS).where(conflicts.c.principal_id == principal_id)
    if not with_resolved:
        query = query.where(conflicts.c.resolved_at.is_(None))
    rows = session.execute(query.order_by(conflicts.c.created_at, conflicts.c.id))
    return [ConflictRecord(*row) for row in rows]


def get_conflict(session: Session, conflict_id: str) -> ConflictRecord:
    """Return one conflict; raises :class:`NotFound`."""
    row = session.execute(select(*_COLUMNS).where(conflicts.c.id == conflict_id)).first()
    if row is None:
        raise NotFound("There is no such conflict.")
    return ConflictRecord(*row)


def _listed(scope: Scope) -> Select[Any]:
    query = select(*_COLUMNS, appointments.c.id).outerjoin(
        appointments, appointments.c.object_id == conflicts.c.object_id
    )
    return narrow(query, conflicts.c.principal_id, scope)


def conflicts_in(
    session: Session,
    scope: Scope,
    *,
    with_resolved: bool = False,
    after: tuple[int, str] | None = None,
    limit: int,
) -> list[ShownConflict]:
    """List the conflicts in scope, oldest first; ``after`` is creation time and id of one."""
    query = _listed(scope)
    if not with_resolved:
        query = query.where(conflicts.c.resolved_at.is_(None))
    if after is not None:
        query = query.where(tuple_(conflicts.c.created_at, conflicts.c.id) > tuple_(*after))
    rows = session.execute(query.order_by(conflicts.c.created_at, conflicts.c.id).limit(limit))
    return [(ConflictRecord(*row[:-1]), row[-1]) for row in rows]


def conflict_in(session: Session, scope: Scope, conflict_id: str) -> ShownConflict:
    """Return one conflict in scope; raises :class:`NotFound`."""
    row = session.execute(_listed(scope).where(conflicts.c.id == conflict_id)).first()
    if row is None:
        raise NotFound("There is no such conflict.")
    return ConflictRecord(*row[:-1]), row[-1]


def resolve_conflict(
    session: Session, conflict_id: str, *, resolution: Resolution, now: int
) -> None:
    """Say that a person has looked at a conflict, and what was done about it."""
    session.execute(
        update(conflicts)
        .where(conflicts.c.id == conflict_id)
        .values(resolved_at=now, resolution=resolution)
    )
