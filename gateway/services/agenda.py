"""Appointments and Blocked Slots as they are shown: an appointment with the state of its push.

``scope`` is what the caller's key may see; a person it names who is not there is not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.intervals import Interval
from gateway.services import appointments
from gateway.services.access.people import PersonRef, find_person
from gateway.store.booking import agenda
from gateway.store.booking.agenda import BlockedSlot, Cursor
from gateway.store.booking.bookings import Appointment
from gateway.store.engine import Session
from gateway.store.outbox.overview import Scope


@dataclass(frozen=True, slots=True)
class AppointmentView:
    """An appointment, how its push stands (``none`` without one), and why when it is parked."""

    appointment: Appointment
    push: str
    push_reason: str | None


def list_appointments(
    session: Session,
    scope: Scope,
    *,
    window: Interval | None,
    after: Cursor | None,
    limit: int,
) -> list[AppointmentView]:
    """List appointments by start, cancelled ones included; raises :class:`NotFound`."""
    _check_person(session, scope)
    found = agenda.appointments_in(session, scope, window=window, after=after, limit=limit)
    return _views(session, found)


def get_appointment(session: Session, scope: Scope, appointment_id: str) -> AppointmentView:
    """Return one appointment in scope; raises :class:`NotFound`."""
    return _views(session, [agenda.appointment_in(session, scope, appointment_id)])[0]


def change_appointment(
    session: Session,
    scope: Scope,
    appointment_id: str,
    *,
    span: Interval | None,
    title: str | None,
    allow_overlap: bool,
    now: int,
) -> AppointmentView:
    """Move or rename an appointment; locks and raises as :func:`appointments.change` does."""
    changed = appointments.change(
        session,
        scope,
        appointment_id,
        span=span,
        title=title,
        allow_overlap=allow_overlap,
        now=now,
    )
    return _views(session, [changed])[0]


def push_appointment(
    session: Session, scope: Scope, appointment_id: str, *, now: int
) -> AppointmentView:
    """Send an appointment upstream; locks and raises as :func:`appointments.push` does (R7)."""
    return _views(session, [appointments.push(session, scope, appointment_id, now=now)])[0]


def list_blocked_slots(
    session: Session,
    scope: Scope,
    *,
    window: Interval | None,
    after: Cursor | None,
    limit: int,
) -> list[BlockedSlot]:
    """List the Blocked Slots made here, by start; raises :class:`NotFound`."""
    _check_person(session, scope)
    return agenda.blocked_slots_in(session, scope, window=window, after=after, limit=limit)


def _check_person(session: Session, scope: Scope) -> None:
    if scope.principal_id is not None:
        find_person(session, PersonRef(scope.principal_id, scope.subaccount_id))


def _views(session: Session, rows: Sequence[Appointment]) -> list[AppointmentView]:
    states = agenda.push_states(session, [row.object_id for row in rows if row.object_id])
    return [AppointmentView(row, *states.get(row.object_id or "", ("none", None))) for row in rows]
