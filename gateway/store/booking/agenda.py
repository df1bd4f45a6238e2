"""What the booking calls list and look up, within the principals a caller may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, literal_column, select, tuple_

from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.store.booking.bookings import Appointment, Hold, as_appointment
from gateway.store.booking_tables import appointments, holds
from gateway.store.engine import Session
from gateway.store.objects.collections import GOING
from gateway.store.outbox.overview import Scope, narrow
from gateway.store.tables import objects, outbox, push_ledger

Cursor = tuple[int, str]
"""Where a page ended: start and id of its last row."""

_APPOINTMENT = tuple(appointments.c[name] for name in Appointment.__dataclass_fields__)
_HOLD = tuple(holds.c[name] for name in Hold.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class BlockedSlot:
    """A Blocked Slot made here; of a series the bounds are those of the whole, as far as known."""

    id: str
    principal_id: str
    start: int
    end: int | None
    recurring: bool
    created_at: int


def appointments_in(
    session: Session,
    scope: Scope,
    *,
    window: Interval | None = None,
    after: Cursor | None = None,
    limit: int,
) -> list[Appointment]:
    """List the appointments in scope by start, cancelled ones included."""
    query = narrow(select(*_APPOINTMENT), appointments.c.principal_id, scope)
    if window is not None:
        query = query.where(appointments.c.start < window[1], appointments.c.end > window[0])
    rows = session.execute(_page(query, appointments.c.start, appointments.c.id, after, limit))
    return [as_appointment(row) for row in rows]


def appointment_in(session: Session, scope: Scope, appointment_id: str) -> Appointment:
    """Return one appointment in scope; raises :class:`NotFound`."""
    query = narrow(select(*_APPOINTMENT), appointments.c.principal_id, scope)
    row = session.execute(query.where(appointments.c.id == appointment_id)).first()
    if row is None:
        raise NotFound("There is no such appointment.")
    return as_appointment(row)


def hold_in(session: Session, scope: Scope, hold_id: str) -> Hold:
    """Return one hold in scope; raises :class:`NotFound`."""
    query = narrow(select(*_HOLD), holds.c.principal_id, scope)
    row = session.execute(query.where(holds.c.id == hold_id)).first()
    if row is None:
        raise NotFound("There is no such hold, or it has expired.")
    return Hold(*row)


_SLOT = (
    objects.c.id,
    objects.c.principal_id,
    objects.c.first_start,
    objects.c.last_end,
    objects.c.recurring,
    objects.c.created_at,
)


def blocked_slots_in(
    session: Session,
    scope: Scope,
    *,
    window: Interval | None = None,
    after: Cursor | None = None,
    limit: int,
) -> list[BlockedSlot]:
    """List the Blocked Slots made here in scope by start."""
    query = narrow(_slots(), objects.c.principal_id, scope)
    if window is not None:
        still = objects.c.last_end.is_(None) | (objects.c.last_end > window[0])
        query = query.where(objects.c.first_start < window[1], still)
    rows = session.execute(_page(query, objects.c.first_start, objects.c.id, after, limit))
    return [BlockedSlot(*row) for row in rows]


def blocked_slot_in(session: Session, scope: Scope, object_id: str) -> BlockedSlot:
    """Return one Blocked Slot made here; raises :class:`NotFound`."""
    query = narrow(_slots(), objects.c.principal_id, scope)
    row = session.execute(query.where(objects.c.id == object_id)).first()
    if row is None:
        raise NotFound("There is no such Blocked Slot.")
    return BlockedSlot(*row)


def _slots() -> Select[Any]:
    return select(*_SLOT).where(
        objects.c.kind == literal_column("'blocked-slot'"),  # as the index over them says it
        objects.c.first_start.is_not(None),
        objects.c.collection_id.not_in(GOING),
    )


def _page(
    query: Select[Any], start: Any, row_id: Any, after: Cursor | None, limit: int
) -> Select[Any]:
    if after is not None:
        query = query.where(tuple_(start, row_id) > tuple_(*after))
    return query.order_by(start, row_id).limit(limit)


def push_states(
    session: Session, object_ids: Sequence[str]
) -> Mapping[str, tuple[str, str | None]]:
    """Return {object id: (pending | pushed | parked, reason)} of what may go upstream."""
    ledger = select(
        push_ledger.c.object_id, push_ledger.c.id, push_ledger.c.state, push_ledger.c.reason
    ).where(push_ledger.c.object_id.in_(object_ids), push_ledger.c.state != "deleted")
    rows = session.execute(ledger).all()
    messages = select(outbox.c.ledger_id, outbox.c.state, outbox.c.reason).where(
        outbox.c.ledger_id.in_([row.id for row in rows])
    )
    waiting: dict[str, tuple[str, str | None]] = {}
    for ledger_id, state, reason in session.execute(messages.order_by(outbox.c.id)):
        if waiting.get(ledger_id, ("",))[0] != "parked":
            waiting[ledger_id] = (state, reason)
    return {row.object_id: waiting.get(row.id, (row.state, row.reason)) for row in rows}
