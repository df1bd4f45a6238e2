"""Booking by API: hold a time, make, change and cancel an appointment, block a time by hand.

The rules of writing are those of :mod:`gateway.services.objects`: one unit that locks the
principal, checks, and writes object, row, ledger and errand together (R13, R27).
"""

from dataclasses import dataclass
from uuid import uuid4

from gateway.core.appointments.body import change_event, write_event
from gateway.core.errors import Conflict, NotFound
from gateway.core.intervals import Interval
from gateway.services.availability import check_span_free
from gateway.services.objects import (
    KIND_PROPERTY,
    delete_platform_object,
    prepare_draft,
    put_platform_object,
    read_draft,
)
from gateway.services.pushes import push_appointment
from gateway.store.access.principals import LoginKind, Principal, get_principal
from gateway.store.booking import bookings
from gateway.store.booking.bookings import Appointment, Hold
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import (
    PLATFORM_NAME,
    Collection,
    find_collection,
    get_collection,
)
from gateway.store.objects.horizons import window_of
from gateway.store.objects.objects import StoredObject, get_object_by_id
from gateway.store.outbox.outbox import find_ledger_by_object

BLOCKED_SLOT = f"{KIND_PROPERTY}:BLOCKED-SLOT"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants booked; ``span`` is UTC epoch seconds, half-open."""

    span: Interval
    title: str
    description: str = ""
    location: str = ""
    external_id: str | None = None
    hold_id: str | None = None
    allow_overlap: bool = False


def hold_time(
    session: Session, principal: Principal, span: Interval, *, ttl_s: int, now: int
) -> Hold:
    """Reserve a free time for ``ttl_s`` seconds (R30); raises what :func:`check_span_free` does."""
    lock_principal(session, principal.id)
    check_span_free(session, principal.id, [span], now=now)
    return bookings.create_hold(session, principal.id, span, expires_at=now + ttl_s, now=now)


def book(session: Session, principal: Principal, wish: Wish, *, now: int) -> Appointment:
    """Make an appointment, consuming the hold it names (R27, R30).

    Raises :class:`SlotTaken`, :class:`ExternalIdTaken` (asked first: the time may be taken by
    that very appointment), and :class:`Conflict` ``hold-expired`` or ``availability-unknown``.
    """
    lock_principal(session, principal.id)
    if wish.external_id is not None:
        bookings.claim_external_id(session, principal.id, wish.external_id, None)
    if wish.hold_id is not None:
        _consume_hold(session, principal.id, wish, now=now)
    stored = _put(session, principal, wish, "platform", now=now)
    row = _row_of(session, stored)
    if wish.external_id is not None:
        bookings.claim_external_id(session, principal.id, wish.external_id, row.id)
        bookings.update_appointment(session, row.id, now=now, external_id=wish.external_id)
    return bookings.get_appointment(session, principal.id, row.id)


def _consume_hold(session: Session, principal_id: str, wish: Wish, *, now: int) -> None:
    held = bookings.find_hold(session, principal_id, wish.hold_id or "", now=now)
    if held is None:
        raise Conflict(
            "The hold has expired, was used already, or is somebody else's.", code="hold-expired"
        )
    if wish.span[0] < held.start or wish.span[1] > held.end:
        raise Conflict("The appointment does not lie within the hold.", code="hold-mismatch")
    bookings.delete_hold(session, held.id)


def block(session: Session, principal: Principal, wish: Wish, *, now: int) -> StoredObject:
    """Block a time by hand: never upstream, never refused for an overlap (R14, R27)."""
    lock_principal(session, principal.id)
    return _put(session, principal, wish, "device", now=now)


def _put(
    session: Session, principal: Principal, wish: Wish, login_kind: LoginKind, *, now: int
) -> StoredObject:
    """Write a new object of ``platform/`` as the login kind would (R19)."""
    uid = str(uuid4())
    is_appointment = login_kind == "platform"
    texts = {"DESCRIPTION": wish.description, "LOCATION": wish.location}
    extra = () if is_appointment else (BLOCKED_SLOT,)
    body = write_event(uid, wish.span, wish.title, now=now, texts=texts, extra=extra)
    draft = read_draft(body)
    prepared = prepare_draft(
        draft,
        name=f"{uid}.ics",
        kind="appointment" if is_appointment else "blocked-slot",
        principal=principal,
        addresses=frozenset(),
        now=now,
        window=window_of(session, principal.id, now=now),
    )
    return put_platform_object(
        session,
        principal=principal,
        login_kind=login_kind,
        collection=_platform(session, principal.id),
        draft=draft,
        prepared=prepared,
        now=now,
        allow_overlap=wish.allow_overlap,
    )


def change(
    session: Session,
    principal: Principal,
    appointment_id: str,
    *,
    span: Interval | None = None,
    title: str | None = None,
    allow_overlap: bool = False,
    now: int,
) -> Appointment:
    """Move or rename an appointment; raises like :func:`book`, and ``appointment-cancelled``.

    A new title alone takes no time, so nothing is refused for it.
    """
    lock_principal(session, principal.id)
    row, stored = _living(session, principal.id, appointment_id)
    if span is None and title is None:
        return row
    body = change_event(stored.body, now=now, span=span, title=title)
    keeps_time = span is None
    replace_body(
        session, principal, stored, body, allow_overlap=allow_overlap or keeps_time, now=now
    )
    return bookings.get_appointment(session, principal.id, row.id)


def replace_body(
    session: Session,
    principal: Principal,
    stored: StoredObject,
    body: bytes,
    *,
    allow_overlap: bool,
    now: int,
) -> None:
    """Write an appointment's object anew as the platform does; raises like :func:`book`.

    The principal is locked by now; the zone is read here, one read earlier may be the old one.
    """
    draft = read_draft(body)
    principal = get_principal(session, principal.id)
    prepared = prepare_draft(
        draft,
        name=stored.name,
        kind="appointment",
        principal=principal,
        addresses=bookings.owner_addresses(session, principal.id),
        now=now,
        window=window_of(session, principal.id, now=now),
    )
    put_platform_object(
        session,
        principal=principal,
        login_kind="platform",
        collection=get_collection(session, stored.collection_id),
        draft=draft,
        prepared=prepared,
        now=now,
        allow_overlap=allow_overlap,
    )


def cancel(session: Session, principal: Principal, appointment_id: str, *, now: int) -> None:
    """Cancel an appointment: its object goes, upstream too; doing it twice is no error."""
    lock_principal(session, principal.id)
    row = bookings.get_appointment(session, principal.id, appointment_id)
    if row.object_id is not None:
        stored = get_object_by_id(session, row.object_id)
        _delete(session, principal, stored, now=now)
    elif row.status != "cancelled":
        bookings.update_appointment(session, row.id, now=now, status="cancelled")


def push(session: Session, principal: Principal, appointment_id: str, *, now: int) -> Appointment:
    """Send an appointment upstream that was made while nothing was linked (R7).

    One that has its place upstream already is left alone. Raises :class:`Conflict`
    ``nothing-linked``.
    """
    lock_principal(session, principal.id)
    row, stored = _living(session, principal.id, appointment_id)
    if find_ledger_by_object(session, stored.id) is None:
        push_appointment(session, stored, is_new=True, now=now)
        if find_ledger_by_object(session, stored.id) is None:
            raise Conflict("No calendar is linked, so there is nowhere to.", code="nothing-linked")
    return row


def unblock(session: Session, principal: Principal, object_id: str, *, now: int) -> None:
    """Delete a Blocked Slot made here; raises :class:`NotFound` for everything else."""
    lock_principal(session, principal.id)
    stored = get_object_by_id(session, object_id)
    if stored.principal_id != principal.id or stored.kind != "blocked-slot":
        raise NotFound("There is no such Blocked Slot.")
    _delete(session, principal, stored, now=now)


def _delete(session: Session, principal: Principal, stored: StoredObject, *, now: int) -> None:
    delete_platform_object(
        session,
        principal=principal,
        collection=get_collection(session, stored.collection_id),
        name=stored.name,
        now=now,
    )


def _living(
    session: Session, principal_id: str, appointment_id: str
) -> tuple[Appointment, StoredObject]:
    row = bookings.get_appointment(session, principal_id, appointment_id)
    if row.object_id is None or row.status == "cancelled":
        raise Conflict("This appointment is cancelled.", code="appointment-cancelled")
    return row, get_object_by_id(session, row.object_id)


def _row_of(session: Session, stored: StoredObject) -> Appointment:
    row = bookings.find_appointment_by_object(session, stored.id)
    if row is None:
        raise NotFound("There is no such appointment.")
    return row


def _platform(session: Session, principal_id: str) -> Collection:
    found = find_collection(session, principal_id, PLATFORM_NAME)
    if found is None:
        raise NotFound("There is no such principal.")
    return found
