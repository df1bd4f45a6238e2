"""Which appointments may go to iCloud: the ledger row, and the errand beside it (R13, R16).

Called in the unit that writes the appointment. Nothing here talks to iCloud: the worker reads the
outbox and builds the body when the errand runs.
"""

from uuid import uuid4

from gateway.core.errors import Conflict
from gateway.store.booking.bookings import PushTarget, drop_errands, find_push_target, was_tried
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.objects import StoredObject
from gateway.store.outbox.outbox import (
    Action,
    Errand,
    LedgerRow,
    create_ledger_row,
    enqueue,
    find_ledger_by_object,
    get_ledger_row,
    is_being_deleted,
    park_all,
    unpark,
    update_ledger,
)
from gateway.store.outbox.overview import Scope, drop_errand, errand_in


def push_appointment(session: Session, stored: StoredObject, *, is_new: bool, now: int) -> None:
    """Allow a new appointment upstream when a calendar is linked; send a known one again."""
    target = find_push_target(session, stored.principal_id)
    ledger = find_ledger_by_object(session, stored.id)
    if ledger is None:
        if not is_new or target is None:
            return
        ledger = _allow(session, stored, target, now=now)
    if ledger is not None and ledger.state != "deleted":
        _send(session, ledger, target, "put", now=now)


def _allow(
    session: Session, stored: StoredObject, target: PushTarget, *, now: int
) -> LedgerRow | None:
    if target.calendar_id is None or target.calendar_path is None:
        return None
    if target.state == "disconnected":
        return None
    return create_ledger_row(
        session,
        principal_id=stored.principal_id,
        object_id=stored.id,
        account_index=target.account_index,
        upstream_calendar_id=target.calendar_id,
        upstream_path=target.calendar_path,
        upstream_uid=str(uuid4()),
        now=now,
    )


def withdraw_appointment(session: Session, gone: StoredObject, *, now: int) -> None:
    """Take a deleted appointment back from iCloud, unless it never got there."""
    ledger = find_ledger_by_object(session, gone.id)
    if ledger is None:
        return
    update_ledger(session, ledger.id, now=now, object_id=None)
    may_be_there = ledger.state == "pushed" or ledger.upstream_etag or ledger.sent_body
    if may_be_there or was_tried(session, ledger.id):
        if ledger.state != "deleted":
            target = find_push_target(session, gone.principal_id)
            _send(session, ledger, target, "delete", now=now)
    else:
        drop_errands(session, ledger.id)
        update_ledger(session, ledger.id, now=now, state="deleted")


def restore_push(session: Session, ledger_id: str, stored: StoredObject, *, now: int) -> bool:
    """Go on with the ledger row of an appointment whose deletion is undone.

    False when the deletion was begun upstream: the appointment then goes there anew.
    """
    ledger = get_ledger_row(session, ledger_id)
    if ledger.state == "deleted" or is_being_deleted(session, ledger_id):
        return False
    update_ledger(session, ledger_id, now=now, object_id=stored.id)
    _send(session, ledger, find_push_target(session, stored.principal_id), "put", now=now)
    return True


def _send(
    session: Session, ledger: LedgerRow, target: PushTarget | None, action: Action, *, now: int
) -> None:
    """Write the errand; only the account the object lives in may run it (R3)."""
    same = target is not None and target.account_index == ledger.account_index
    connection_id = target.connection_id if target is not None and same else None
    enqueue(session, ledger_id=ledger.id, connection_id=connection_id, action=action, now=now)
    if target is not None and target.state == "disconnected":
        park_all(
            session,
            target.connection_id,
            reason="disconnected",
            detail="The iCloud account is not connected.",
        )


# --- what a person decides about a push that waits ---


def retry_push(
    session: Session, scope: Scope, errand_id: int, *, now: int
) -> tuple[Errand, LedgerRow]:
    """Try a parked push again now; raises :class:`NotFound` when none in scope waits."""
    errand, ledger = _locked(session, scope, errand_id)
    unpark(session, errand.id, now=now)
    update_ledger(session, ledger.id, now=now, state="pending", reason=None)
    return errand_in(session, scope, errand_id)


def drop_push(session: Session, scope: Scope, errand_id: int, *, now: int) -> None:
    """Give a parked push up, so that iCloud stays as it is.

    Raises :class:`NotFound`, and :class:`Conflict` ``push-not-parked``.
    """
    errand, ledger = _locked(session, scope, errand_id)
    if errand.state != "parked":
        raise Conflict("Only a parked push can be dropped.", code="push-not-parked")
    drop_errand(session, errand.id)
    update_ledger(session, ledger.id, now=now, state="parked", reason="dropped")


def _locked(session: Session, scope: Scope, errand_id: int) -> tuple[Errand, LedgerRow]:
    _, ledger = errand_in(session, scope, errand_id)
    lock_principal(session, ledger.principal_id)
    return errand_in(session, scope, errand_id)
