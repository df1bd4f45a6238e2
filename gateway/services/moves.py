"""Recognising the move of an appointment as phones do it: PUT elsewhere and DELETE here (R19).

An appointment stays in ``platform/``. A device's copy of one into another calendar is refused, and
the deletion beside it, before or after, does not count. Everything runs in the unit of the request
with the principal locked.
"""

from gateway.core.errors import NotAllowed
from gateway.services import objects
from gateway.services.objects import Check, Place
from gateway.services.outbox.pushes import push_new, restore_push
from gateway.store.booking import moves
from gateway.store.booking.bookings import (
    find_appointment_by_object,
    get_appointment,
    update_appointment,
)
from gateway.store.booking.loading import Loaded
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import PLATFORM_NAME, find_collection
from gateway.store.objects.objects import StoredObject, find_by_uid, write_object
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
    lock_principal(session, principal_id)
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


def delete_by_device(session: Session, place: Place, *, check: Check, now: int) -> None:
    """Delete as a device does: not the rest of a move, and what goes can come back.

    Raises what :func:`gateway.services.objects.delete` does, and what :func:`appointment_stays`
    returns when a copy of this appointment was refused lately.
    """

    def check_and_note(loaded: Loaded) -> None:
        check(loaded)
        if loaded.member is not None and loaded.member.kind == "appointment":
            _note_deletion(session, loaded.member, now=now)

    objects.delete(session, place, check=check_and_note, now=now, with_body=True)


def appointment_stays() -> NotAllowed:
    """Return the refusal of an appointment's way out of ``platform/`` (R19)."""
    return NotAllowed(
        "This appointment was booked here and cannot be moved to another calendar. It stays where "
        "it is; to cancel it, delete it again in two minutes.",
        code="appointment-stays",
    )


def _note_deletion(session: Session, found: StoredObject, *, now: int) -> None:
    """Keep what it takes to undo the deletion of an appointment; refuse the rest of a move."""
    left = moves.find_move(session, found.principal_id, found.uid, since=now - WITHIN_S)
    if left is not None and left.done == "copied":
        raise appointment_stays()
    row = find_appointment_by_object(session, found.id)
    if row is None or row.status != "confirmed":
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
    if left.name is None or left.body is None or left.appointment_id is None:
        return
    place = Place(principal_id, PLATFORM_NAME, left.name)
    loaded = objects.load_place(session, place, now=now)
    if loaded.collection is None or loaded.member is not None:
        return
    content = objects.prepare(
        objects.parse(left.body), loaded.owner, name=left.name, kind="appointment"
    )
    stored = write_object(session, loaded.collection, content, None, now=now)
    row = get_appointment(session, principal_id, left.appointment_id)
    update_appointment(session, row.id, now=now, status="confirmed", object_id=stored.id)
    target = loaded.push_target
    if left.ledger_id and not restore_push(session, left.ledger_id, stored, target, now=now):
        push_new(session, stored, target, now=now)
