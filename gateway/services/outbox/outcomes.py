"""What running an outbox message writes: sent, in doubt, pushed, deleted, postponed, parked (R16).

Each function is one unit over the message and its ledger row. Only the holder of the account's
lease runs messages, so nobody is locked; the appointment itself is not written here.
"""

from dataclasses import dataclass, replace
from uuid import uuid4

from gateway.expansion.prepare import RawObject
from gateway.services.outbox.own_objects import load_own, record_lost
from gateway.store.accounts import calendars
from gateway.store.engine import Session
from gateway.store.objects import objects
from gateway.store.objects.objects import StoredObject
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage


@dataclass(frozen=True, slots=True)
class PushJob:
    """A message with what it is about, as read in one unit; ``local`` None: withdrawn here."""

    message: OutboxMessage
    ledger: LedgerRow
    local: StoredObject | None
    calendar_gone: bool

    @property
    def sequence(self) -> int:
        """SEQUENCE of the version that is sent: 0 for the first one (RFC 5545, 3.8.7.4)."""
        return self.ledger.sequence + 1 if self.ledger.upstream_etag else 0


def load_job(session: Session, message_id: int) -> PushJob:
    """Read a message with what it is about; raises :class:`NotFound` once it is done."""
    message = outbox.get_message(session, message_id)
    ledger = outbox.get_ledger_row(session, message.ledger_id)
    local = objects.find_object_by_id(session, ledger.object_id) if ledger.object_id else None
    calendar_id = ledger.upstream_calendar_id or ""
    known = calendars.calendars_by_id(session, [calendar_id]).get(calendar_id)
    return PushJob(message, ledger, local, calendar_gone=known is None or known.state == "gone")


# --- before anything is sent ---


def note_sending(session: Session, job: PushJob, body: bytes, *, now: int) -> bool:
    """Mark a message in doubt and keep what is about to be sent; to be committed before the PUT.

    False when the message is gone: it was replaced or withdrawn a moment ago, so send nothing.
    """
    if not outbox.mark_in_doubt(session, job.message.id):
        return False
    outbox.update_ledger(session, job.ledger.id, now=now, sent_body=body)
    return True


def note_deleting(session: Session, job: PushJob, theirs: RawObject, *, now: int) -> None:
    """Mark a deletion in doubt, before it is sent, with the version that is deleted.

    What was edited in iCloud in the meantime is kept as a conflict.
    """
    outbox.mark_in_doubt(session, job.message.id)
    own = replace(load_own(session, job.ledger.id, now), local=None)
    record_lost(session, job.ledger, own.decide(theirs, now=now), now=now)
    outbox.update_ledger(
        session, job.ledger.id, now=now, base_body=theirs.body, upstream_etag=theirs.etag
    )


def rename_upstream(session: Session, job: PushJob, *, now: int) -> None:
    """Give an object another name and UID in iCloud, where its own are taken."""
    uid = str(uuid4())
    changes = {"upstream_uid": uid, "upstream_name": f"{uid}.ics", "sent_body": None}
    outbox.update_ledger(session, job.ledger.id, now=now, **changes)


# --- done ---


def note_pushed(
    session: Session, job: PushJob, *, etag: str | None, body: bytes | None, now: int
) -> None:
    """Record what iCloud holds now and finish the message, in one unit."""
    outbox.finish(session, job.message.id)
    outbox.update_ledger(
        session,
        job.ledger.id,
        now=now,
        state="pushed",
        reason=None,
        upstream_etag=etag,
        base_body=body,
        sent_body=None,
        sequence=job.sequence,
    )


def note_unchanged(session: Session, job: PushJob, *, now: int) -> None:
    """Finish a message that would change nothing in iCloud."""
    outbox.finish(session, job.message.id)
    outbox.update_ledger(session, job.ledger.id, now=now, state="pushed", reason=None)


def note_withdrawn(session: Session, job: PushJob) -> None:
    """Finish the message of an appointment that is not here any more."""
    outbox.finish(session, job.message.id)


def note_deleted(session: Session, job: PushJob, *, now: int) -> None:
    """Finish a deletion: the object is gone from iCloud."""
    outbox.finish(session, job.message.id)
    outbox.update_ledger(session, job.ledger.id, now=now, state="deleted", reason=None)


# --- not done ---


def postpone(
    session: Session,
    message: OutboxMessage,
    *,
    due_at: float,
    reason: str,
    detail: str,
    in_doubt: bool,
) -> None:
    """Try a message again at ``due_at`` (UTC epoch seconds) and count the attempt.

    ``in_doubt``: it may have arrived, so the next attempt looks before it repeats.
    """
    outbox.postpone(
        session, message, due_at=due_at, reason=reason, detail=detail, in_doubt=in_doubt
    )


def park(session: Session, message: OutboxMessage, *, reason: str, detail: str, now: int) -> None:
    """Stop trying until a person decides; ``reason`` is a stable code."""
    outbox.park(session, message.id, reason=reason, detail=detail)
    outbox.update_ledger(session, message.ledger_id, now=now, state="parked", reason=reason)


def park_job(session: Session, job: PushJob, *, reason: str, detail: str, now: int) -> None:
    """Stop trying until a person decides; what was to be deleted is mirrored from now on.

    It stays in iCloud, and blocks there like any event.
    """
    if job.message.action == "delete":
        calendars.relist_calendar(session, job.ledger.upstream_calendar_id or "")
    park(session, job.message, reason=reason, detail=detail, now=now)
