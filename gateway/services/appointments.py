"""Booking by API: hold a time, make, change and cancel an appointment, block a time by hand.

Each function is one use case in one write unit; what is written goes the one write path of
:mod:`gateway.services.objects` (R13, R27). ``scope`` is what the caller's key may see.
"""

from dataclasses import dataclass
from uuid import uuid4

from gateway.core.appointments.body import change_event, write_event
from gateway.core.appointments.fields import NO_FIELDS, AppointmentFields
from gateway.core.availability.sources import oldest_age
from gateway.core.errors import NotFound, StateConflict
from gateway.core.intervals import Interval
from gateway.services import objects
from gateway.services.availability import check_span_free, oldest_source_age
from gateway.services.objects import KIND_PROPERTY, Place, Write, Written
from gateway.services.outbox.pushes import push_new
from gateway.store.access.principals import LoginKind
from gateway.store.booking import agenda, bookings
from gateway.store.booking.bookings import Appointment, Hold
from gateway.store.booking.loading import Loaded, load_member, load_member_by_id
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import PLATFORM_NAME
from gateway.store.outbox.outbox import find_ledger_by_object
from gateway.store.outbox.overview import Scope

BLOCKED_SLOT = {KIND_PROPERTY: "BLOCKED-SLOT"}


@dataclass(frozen=True, slots=True)
class BookingRequest:
    """What a caller wants booked for a principal; ``span`` is UTC epoch seconds, half-open."""

    principal_id: str
    span: Interval
    title: str
    description: str = ""
    location: str = ""
    fields: AppointmentFields = NO_FIELDS
    hold_id: str | None = None
    allow_overlap: bool = False


@dataclass(frozen=True, slots=True)
class Booked:
    """An appointment just made.

    ``is_pushed`` tells whether it goes to iCloud; ``age_s`` is how old what was known of the
    calendars that block is, in seconds (R28).
    """

    appointment: Appointment
    is_pushed: bool
    age_s: int | None


# --- holds ---


def hold_time(
    session: Session, scope: Scope, principal_id: str, span: Interval, *, ttl_s: int, now: int
) -> Hold:
    """Reserve a free time for ``ttl_s`` seconds (R30); raises what :func:`check_span_free` does."""
    lock_principal(session, principal_id, subaccount_id=scope.subaccount_id)
    check_span_free(session, principal_id, [span], now=now)
    return bookings.create_hold(session, principal_id, span, expires_at=now + ttl_s, now=now)


def release_hold(session: Session, scope: Scope, hold_id: str, *, now: int) -> None:
    """Give a reserved time back before it expires; raises :class:`NotFound`."""
    held = agenda.hold_in(session, scope, hold_id)
    lock_principal(session, held.principal_id)
    if bookings.take_hold(session, held.principal_id, hold_id, now=now) is None:
        raise NotFound("There is no such hold, or it has expired.")


# --- appointments ---


def book(session: Session, scope: Scope, request: BookingRequest, *, now: int) -> Booked:
    """Make an appointment, consuming the hold it names (R27, R30).

    Raises :class:`SlotTaken`, :class:`ExternalIdTaken` (asked first: the time may be taken by
    that very appointment), and :class:`StateConflict` ``hold-expired`` or ``availability-unknown``.
    """
    principal_id, external_id = request.principal_id, request.fields.external_id
    place = _new_place(principal_id)
    loaded = _locked(session, scope, principal_id, place.name, now=now)
    if external_id is not None:
        bookings.claim_external_id(session, principal_id, external_id, None)
    if request.hold_id is not None:
        _consume_hold(session, request, now=now)
    written = _write_new(session, request, place, loaded, "platform", now=now)
    row = _appointment_of(written)
    if external_id is not None:
        bookings.claim_external_id(session, principal_id, external_id, row.id)
    if written.timeline is not None:
        age_s = oldest_age(written.timeline.sources, now=now)
    else:
        age_s = oldest_source_age(session, principal_id, now=now)
    return Booked(row, written.is_pushed, age_s)


def block(
    session: Session, scope: Scope, request: BookingRequest, *, now: int
) -> agenda.BlockedSlot:
    """Block a time by hand: never upstream, never refused for an overlap (R14, R27)."""
    place = _new_place(request.principal_id)
    loaded = _locked(session, scope, request.principal_id, place.name, now=now)
    stored = _write_new(session, request, place, loaded, "device", now=now).stored
    return agenda.blocked_slot_in(session, scope, stored.id)


def change(
    session: Session,
    scope: Scope,
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
    row, loaded = _living(session, scope, appointment_id, now=now)
    if loaded.member is None or (span is None and title is None):
        return row
    body = change_event(loaded.member.body, now=now, span=span, title=title)
    keeps_time = span is None
    return replace_body(session, loaded, body, allow_overlap=allow_overlap or keeps_time, now=now)


def replace_body(
    session: Session, loaded: Loaded, body: bytes, *, allow_overlap: bool, now: int
) -> Appointment:
    """Write an appointment's object anew as the platform does; raises like :func:`book`.

    The principal is locked by now, and ``loaded`` was read under that lock.
    """
    if loaded.collection is None or loaded.member is None:
        raise NotFound("There is no such appointment.")
    place = Place(loaded.owner.principal_id, loaded.collection.name, loaded.member.name)
    write = Write(place, objects.parse(body), "platform", allow_overlap)
    return _appointment_of(objects.put_loaded(session, write, loaded, None, now=now))


def cancel(session: Session, scope: Scope, appointment_id: str, *, now: int) -> None:
    """Cancel an appointment: its object goes, upstream too; doing it twice is no error."""
    row, loaded = _loaded_row(session, scope, appointment_id, now=now)
    if loaded is not None and loaded.member is not None:
        objects.delete_loaded(session, loaded, now=now)
    elif row.status != "cancelled":
        bookings.update_appointment(session, row.id, now=now, status="cancelled")


def push(session: Session, scope: Scope, appointment_id: str, *, now: int) -> Appointment:
    """Send an appointment upstream that was made while nothing was linked (R7).

    One that has its place upstream already is left alone. Raises :class:`StateConflict`
    ``nothing-linked``.
    """
    row, loaded = _living(session, scope, appointment_id, now=now)
    stored = loaded.member
    if stored is None or find_ledger_by_object(session, stored.id) is not None:
        return row
    if not push_new(session, stored, loaded.push_target, now=now):
        raise StateConflict("No calendar is linked, so there is nowhere to.", code="nothing-linked")
    return row


# --- Blocked Slots ---


def unblock(session: Session, scope: Scope, object_id: str, *, now: int) -> None:
    """Delete a Blocked Slot made here; raises :class:`NotFound` for everything else."""
    slot = agenda.blocked_slot_in(session, scope, object_id)
    lock_principal(session, slot.principal_id)
    loaded = load_member_by_id(session, slot.principal_id, slot.id, now=now)
    if loaded.member is None or loaded.member.kind != "blocked-slot":
        raise NotFound("There is no such Blocked Slot.")
    objects.delete_loaded(session, loaded, now=now)


# --- parts ---


def _new_place(principal_id: str) -> Place:
    return Place(principal_id, PLATFORM_NAME, f"{uuid4()}.ics")


def _locked(session: Session, scope: Scope, principal_id: str, name: str, *, now: int) -> Loaded:
    """Lock a principal in scope and load what is known; raises :class:`NotFound` for others."""
    lock_principal(session, principal_id, subaccount_id=scope.subaccount_id)
    return load_member(session, principal_id, PLATFORM_NAME, name, now=now)


def _consume_hold(session: Session, request: BookingRequest, *, now: int) -> None:
    held = bookings.take_hold(session, request.principal_id, request.hold_id or "", now=now)
    if held is None:
        raise StateConflict(
            "The hold has expired, was used already, or is somebody else's.", code="hold-expired"
        )
    if request.span[0] < held.start or request.span[1] > held.end:
        raise StateConflict("The appointment does not lie within the hold.", code="hold-mismatch")


def _write_new(
    session: Session,
    request: BookingRequest,
    place: Place,
    loaded: Loaded,
    login_kind: LoginKind,
    *,
    now: int,
) -> Written:
    """Write a new object of ``platform/`` as the login kind would (R19)."""
    texts = {"DESCRIPTION": request.description, "LOCATION": request.location}
    kind = {} if login_kind == "platform" else BLOCKED_SLOT
    uid = place.name.removesuffix(".ics")
    body = write_event(uid, request.span, request.title, now=now, texts=texts | kind)
    write = Write(
        place,
        objects.parse(body),
        login_kind,
        allow_overlap=request.allow_overlap,
        fields=request.fields,
    )
    return objects.put_loaded(session, write, loaded, None, now=now)


def _loaded_row(
    session: Session, scope: Scope, appointment_id: str, *, now: int
) -> tuple[Appointment, Loaded | None]:
    """Lock the principal of an appointment in scope; return its row, and its object if any."""
    principal_id = agenda.appointment_in(session, scope, appointment_id).principal_id
    lock_principal(session, principal_id)
    row = bookings.get_appointment(session, principal_id, appointment_id)
    if row.object_id is None:
        return row, None
    return row, load_member_by_id(session, principal_id, row.object_id, now=now)


def _living(
    session: Session, scope: Scope, appointment_id: str, *, now: int
) -> tuple[Appointment, Loaded]:
    row, loaded = _loaded_row(session, scope, appointment_id, now=now)
    if loaded is None or loaded.member is None or row.status == "cancelled":
        raise StateConflict("This appointment is cancelled.", code="appointment-cancelled")
    return row, loaded


def _appointment_of(written: Written) -> Appointment:
    if written.appointment is None:
        raise NotFound("There is no such appointment.")
    return written.appointment
