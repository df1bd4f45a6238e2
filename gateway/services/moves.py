"""Recognising the move of an appointment as phones do it: PUT elsewhere and DELETE here (R19).

An appointment stays in ``platform/``. A device's copy of one into another calendar is refused, and
the deletion beside it, before or after, does not count. Everything runs in the unit of the request
with the principal locked.
"""

from gateway.services.objects import prepare_draft, read_draft
from gateway.services.pushes import push_appointment, restore_push
from gateway.store.access.principals import get_principal
from gateway.store.booking import moves
from gateway.store.booking.bookings import (
    find_appointment_by_object,
    get_appointment,
    owner_addresses,
    update_appointment,
)
from gateway.store.engine import Session
from gateway.store.objects.collections import PLATFORM_NAME, find_collection
from gateway.store.objects.horizons import window_of
from gateway.store.objects.objects import StoredObject, find_by_uid, find_object, save_object
from gateway.store.outbox.outbox import find_ledger_by_object

WITHIN_S = 120
"""Two halves of a move are at most this far apart."""


def may_be_copy(session: Session, principal_id: str, uid: str, *, now: int) -> bool:
    """Tell whether :func:`refuses_copy` has anything to do, without a lock."""
    platform = find_collection(session, principal_id, PLATFORM_NAME)
    found = find_by_uid(session, platform.id, uid) if platform is not None else None
    if found is not None:
        return found.kind == "appointment"
    return moves.find_move(session, principal_id, uid, since=now - WITHIN_S) is not None


def refuses_copy(session: Session, principal_id: str, uid: str, *, now: int) -> bool:
    """Tell whether an object put outside of ``platform/`` is half of a move of an appointment.

    It is noted, so that the deletion that follows is refused; one that went before is undone.
    Whoever refuses commits this unit all the same.
    """
    platform = find_collection(session, principal_id, PLATFORM_NAME)
    found = find_by_uid(session, platform.id, uid) if platform is not None else None
    if found is not None and found.kind == "appointment":
        moves.note_copy(session, principal_id, uid, now=now)
        return True
    left = moves.find_move(session, principal_id, uid, since=now - WITHIN_S)
    if left is None or left.done != "deleted":
        return False
    _restore(session, principal_id, left, now=now)
    moves.note_copy(session, principal_id, uid, now=now)
    return True


def was_copied(session: Session, found: StoredObject, *, now: int) -> bool:
    """Tell whether a copy of this appointment was refused lately: its deletion is the rest."""
    if found.kind != "appointment":
        return False
    left = moves.find_move(session, found.principal_id, found.uid, since=now - WITHIN_S)
    return left is not None and left.done == "copied"


def note_deletion(session: Session, found: StoredObject, *, now: int) -> None:
    """Keep what it takes to undo the deletion of an appointment; call it before it is deleted."""
    row = find_appointment_by_object(session, found.id)
    if found.kind != "appointment" or row is None or row.status != "confirmed":
        return
    ledger = find_ledger_by_object(session, found.id)
    moves.note_deletion(
        session,
        found,
        appointment_id=row.id,
        ledger_id=None if ledger is None else ledger.id,
        now=now,
    )


def _restore(session: Session, principal_id: str, left: moves.Move, *, now: int) -> None:
    """Bring an appointment back as it was; it may overlap what was booked meanwhile (R27)."""
    platform = find_collection(session, principal_id, PLATFORM_NAME)
    if platform is None or left.name is None or left.body is None or left.appointment_id is None:
        return
    if find_object(session, platform.id, left.name) is not None:
        return
    prepared = prepare_draft(
        read_draft(left.body),
        name=left.name,
        kind="appointment",
        principal=get_principal(session, principal_id),
        addresses=owner_addresses(session, principal_id),
        now=now,
        window=window_of(session, principal_id, now=now),
    )
    stored = save_object(session, platform, prepared, now=now)
    row = get_appointment(session, principal_id, left.appointment_id)
    update_appointment(session, row.id, now=now, status="confirmed", object_id=stored.id)
    if left.ledger_id is None or not restore_push(session, left.ledger_id, stored, now=now):
        push_appointment(session, stored, is_new=left.ledger_id is not None, now=now)
