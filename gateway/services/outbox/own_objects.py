"""Our own pushed objects as iCloud holds them now: what that changes here (R17).

They are never mirrored: the appointment in ``platform/`` stands for them. Its time follows
iCloud, its texts are the platform's. What a version means is decided by
:mod:`gateway.core.appointments.reconcile`; each writing function is one unit and locks the person.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.core.appointments.reconcile import Decision, Reading, decide
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.recurrence.expand import BusyRules, default_window
from gateway.core.recurrence.model import Expansion
from gateway.expansion.prepare import RawObject
from gateway.store.access.principals import get_principal
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.booking import bookings
from gateway.store.booking.conflicts import count_refused, record_conflict
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import collections, objects
from gateway.store.objects.objects import PreparedObject, StoredObject
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow

CONTESTED_S = 3600
MOST_REFUSED = 3
"""Of so many unusable times found upstream within that span the next is not answered by writing."""


@dataclass(frozen=True, slots=True)
class OwnObject:
    """An own object as it is here, read in one unit; ``waiting``: a change has yet to go up.

    ``zone`` and ``addresses`` are its owner's: times are read by them. ``contested``: times found
    upstream were refused again and again.
    """

    row: LedgerRow
    local: StoredObject | None
    waiting: bool
    zone: str
    addresses: frozenset[str]
    contested: bool

    def decide(self, theirs: RawObject | None, *, now: int) -> Decision:
        """Decide about what iCloud holds of it now; an ETag that was seen before is no news."""
        is_seen = theirs is not None and theirs.etag == self.row.upstream_etag
        return decide(
            theirs.body if theirs is not None and is_seen else self.row.base_body,
            self.row.sent_body,
            self.local.body if self.local is not None else None,
            theirs.body if theirs is not None else None,
            self.waiting,
            Reading(
                BusyRules(ZoneInfo(self.zone), self.addresses, always_busy=True),
                default_window(now),
                self.contested,
            ),
        )


def load_own(session: Session, ledger_id: str, now: int) -> OwnObject:
    """Read an own object with all that a decision about it needs."""
    row = outbox.get_ledger_row(session, ledger_id)
    local = objects.find_object_by_id(session, row.object_id) if row.object_id else None
    return OwnObject(
        row=row,
        local=local,
        waiting=outbox.has_message(session, ledger_id),
        zone=get_principal(session, row.principal_id).time_zone,
        addresses=bookings.owner_addresses(session, row.principal_id),
        contested=count_refused(session, ledger_id, since=now - CONTESTED_S) >= MOST_REFUSED,
    )


def apply_version(
    session: Session,
    own: OwnObject,
    connection_id: str,
    calendar: UpstreamCalendar,
    raw: RawObject,
    decision: Decision,
    *,
    now: int,
) -> bool:
    """Write what was decided about a version found in iCloud: ledger and object together.

    A new time, a cancellation, a move to another calendar or name, what a person must look at, and
    the message that puts ours back. ``own`` is what was decided on; False when it has changed
    since, and nothing is written.
    """
    row = own.row
    lock_principal(session, row.principal_id)
    if not _is_still(own, load_own(session, row.id, now)):
        return False
    state = "parked" if decision.park else row.state if own.waiting else "pushed"
    outbox.update_ledger(
        session,
        row.id,
        now=now,
        upstream_calendar_id=calendar.id,
        upstream_path=calendar.path,
        upstream_name=raw.name,
        upstream_etag=raw.etag,
        base_body=raw.body,
        sent_body=row.sent_body if raw.etag == row.upstream_etag else None,
        state=state,
        reason=decision.park or (None if state == "pushed" else row.reason),
    )
    record_lost(session, row, decision, now=now)
    if decision.cancel:
        _cancel(session, own, now=now)
        return True
    if own.local is not None and decision.body is not None and decision.expansion is not None:
        _save_adopted(session, own.local, decision.body, decision.expansion, now=now)
    if decision.send:
        outbox.enqueue(
            session, ledger_id=row.id, connection_id=connection_id, action="put", now=now
        )
    return True


def apply_deletion(session: Session, row: LedgerRow, *, now: int) -> None:
    """Decide about what is here now, and write it: it is gone there, whatever happens here.

    The appointment is cancelled and its time is free; raises :class:`NotFound` without a ledger
    row.
    """
    lock_principal(session, row.principal_id)
    own = load_own(session, row.id, now)
    record_lost(session, own.row, own.decide(None, now=now), now=now)
    _cancel(session, own, now=now)


def record_lost(session: Session, row: LedgerRow, decision: Decision, *, now: int) -> None:
    """Keep what either side loses by a decision, for a person to look at."""
    for lost in decision.conflicts:
        record_conflict(session, row, kind=lost.kind, dropped=lost.side, body=lost.body, now=now)


# --- inside a unit ---


def _is_still(own: OwnObject, current: OwnObject) -> bool:
    """Whether an own object is what it was, as far as a decision hangs on it."""
    etags = [one.local.etag if one.local is not None else None for one in (own, current)]
    return (
        etags[0] == etags[1]
        and current.row.upstream_etag == own.row.upstream_etag
        and current.waiting == own.waiting
        and (current.zone, current.addresses) == (own.zone, own.addresses)
    )


def _save_adopted(
    session: Session, local: StoredObject, body: bytes, expansion: Expansion, *, now: int
) -> None:
    parsed = parse_calendar_object(body)
    prepared = PreparedObject(
        name=local.name,
        uid=parsed.uid,
        kind=local.kind,
        component=parsed.component,
        etag=parsed.etag,
        body=parsed.body,
        expansion=expansion,
    )
    collection = collections.lock_collection(session, local.collection_id)
    stored = objects.save_object(session, collection, prepared, now=now)
    appointment = bookings.find_appointment_by_object(session, stored.id)
    span = expansion.first_span
    if appointment is not None and span is not None:
        bookings.update_appointment(session, appointment.id, now=now, start=span[0], end=span[1])


def _cancel(session: Session, own: OwnObject, *, now: int) -> None:
    """Cancel the appointment, free its time, drop what was to be sent."""
    outbox.drop_messages(session, own.row.id)
    outbox.update_ledger(
        session, own.row.id, now=now, state="deleted", object_id=None, reason="deleted-upstream"
    )
    if own.local is None:
        return
    appointment = bookings.find_appointment_by_object(session, own.local.id)
    if appointment is not None:
        bookings.update_appointment(
            session, appointment.id, now=now, status="cancelled", object_id=None
        )
    collection = collections.lock_collection(session, own.local.collection_id)
    objects.delete_objects(session, collection, [own.local.name], now=now)
