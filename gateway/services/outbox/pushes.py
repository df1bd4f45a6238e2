"""Which appointments may go to iCloud: the ledger row, and the message beside it (R13, R16).

Called in the unit that writes the appointment. Nothing here talks to iCloud: the worker reads the
outbox and builds the body when the message runs.
"""

from uuid import uuid4

from gateway.core.errors import StateConflict
from gateway.store.booking.bookings import PushTarget
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.objects import StoredObject
from gateway.store.outbox.outbox import (
    Action,
    LedgerRow,
    OutboxMessage,
    create_ledger_row,
    drop_messages,
    enqueue,
    find_ledger_by_object,
    find_tried_ledger,
    get_ledger_row,
    is_being_deleted,
    park_all,
    unpark,
    update_ledger,
)
from gateway.store.outbox.overview import Scope, drop_message, message_in


def push_new(
    session: Session, stored: StoredObject, target: PushTarget | None, *, now: int
) -> bool:
    """Allow an appointment upstream that has no ledger row, when a calendar is linked; tell so."""
    if target is None or target.calendar_id is None or target.calendar_path is None:
        return False
    if target.state == "disconnected":
        return False
    ledger = create_ledger_row(
        session,
        principal_id=stored.principal_id,
        object_id=stored.id,
        account_index=target.account_index,
        upstream_calendar_id=target.calendar_id,
        upstream_path=target.calendar_path,
        upstream_uid=str(uuid4()),
        now=now,
    )
    _send(session, ledger, target, "put", is_first=True, now=now)
    return True


def push_changed(
    session: Session, stored: StoredObject, target: PushTarget | None, *, now: int
) -> bool:
    """Send an appointment again that was allowed upstream before; no other one (R13)."""
    ledger = find_ledger_by_object(session, stored.id)
    if ledger is None or ledger.state == "deleted":
        return False
    _send(session, ledger, target, "put", now=now)
    return True


def withdraw_appointment(
    session: Session, gone: StoredObject, target: PushTarget | None, *, now: int
) -> None:
    """Take a deleted appointment back from iCloud, unless it never got there."""
    found = find_tried_ledger(session, gone.id)
    if found is None:
        return
    ledger, was_tried = found
    if ledger.state == "pushed" or ledger.upstream_etag or ledger.sent_body or was_tried:
        update_ledger(session, ledger.id, now=now, object_id=None)
        if ledger.state != "deleted":
            _send(session, ledger, target, "delete", now=now)
    else:
        drop_messages(session, ledger.id)
        update_ledger(session, ledger.id, now=now, object_id=None, state="deleted")


def restore_push(
    session: Session,
    ledger_id: str,
    stored: StoredObject,
    target: PushTarget | None,
    *,
    now: int,
) -> bool:
    """Go on with the ledger row of an appointment whose deletion is undone.

    False when the deletion was begun upstream: the appointment then goes there anew.
    """
    ledger = get_ledger_row(session, ledger_id)
    if ledger.state == "deleted" or is_being_deleted(session, ledger_id):
        return False
    update_ledger(session, ledger_id, now=now, object_id=stored.id)
    _send(session, ledger, target, "put", now=now)
    return True


def _send(
    session: Session,
    ledger: LedgerRow,
    target: PushTarget | None,
    action: Action,
    *,
    now: int,
    is_first: bool = False,
) -> None:
    """Write the message; only the account the object lives in may run it (R3)."""
    same = target is not None and target.account_index == ledger.account_index
    connection_id = target.connection_id if target is not None and same else None
    enqueue(
        session,
        ledger_id=ledger.id,
        connection_id=connection_id,
        action=action,
        now=now,
        is_first=is_first,
    )
    if target is not None and target.state == "disconnected":
        park_all(
            session,
            target.connection_id,
            reason="disconnected",
            detail="The iCloud account is not connected.",
        )


# --- what a person decides about a push that waits ---


def retry_push(
    session: Session, scope: Scope, message_id: int, *, now: int
) -> tuple[OutboxMessage, LedgerRow]:
    """Try a parked push again now; raises :class:`NotFound` when none in scope waits."""
    message, ledger = _locked(session, scope, message_id)
    unpark(session, message.id, now=now)
    update_ledger(session, ledger.id, now=now, state="pending", reason=None)
    return message_in(session, scope, message_id)


def drop_push(session: Session, scope: Scope, message_id: int, *, now: int) -> None:
    """Give a parked push up, so that iCloud stays as it is.

    Raises :class:`NotFound`, and :class:`StateConflict` ``push-not-parked``.
    """
    message, ledger = _locked(session, scope, message_id)
    if message.state != "parked":
        raise StateConflict("Only a parked push can be dropped.", code="push-not-parked")
    drop_message(session, message.id)
    update_ledger(session, ledger.id, now=now, state="parked", reason="dropped")


def _locked(session: Session, scope: Scope, message_id: int) -> tuple[OutboxMessage, LedgerRow]:
    _, ledger = message_in(session, scope, message_id)
    lock_principal(session, ledger.principal_id)
    return message_in(session, scope, message_id)
