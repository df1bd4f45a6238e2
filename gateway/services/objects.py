"""The one write path of objects of ``platform/`` and of local calendars (R13, R14, R19, R27).

PUT, DELETE, MOVE and COPY of the CalDAV server and every booking of the API come through here::

    load (one read unit) -> parse, prepare -> put, delete, move, copy (one write unit)

A body is parsed once and expanded once, before any lock. The functions that take a ``Session``
lock the principal once, load once more what is there by then, let the caller check its conditions
against it, and write object, instances, revision, appointment row, ledger row and push message
in that one unit. Whatever they raise leaves the unit, so nothing of a refused write is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.appointments.fields import NO_FIELDS, AppointmentFields
from gateway.core.availability.timeline import Timeline
from gateway.core.errors import InvalidCalendarData, NotAllowed, NotFound, UidTaken
from gateway.core.ical.lines import join_folds, unescape_text
from gateway.core.ical.objects import CalendarObject, parse_calendar_object
from gateway.core.intervals import DAY, Interval, clip, merge, subtract
from gateway.core.recurrence.expand import expand_components
from gateway.core.recurrence.model import BusyRules, Expansion
from gateway.core.status import FBType
from gateway.services.availability import check_span_free, time_of_object
from gateway.services.outbox.pushes import push_changed, push_new, withdraw_appointment
from gateway.store.access.principals import LoginKind
from gateway.store.booking.bookings import (
    Appointment,
    AppointmentStatus,
    change_appointment_of,
    create_appointment,
    find_appointment_by_object,
)
from gateway.store.booking.loading import Loaded, Owner, load_member
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import Collection
from gateway.store.objects.horizons import FARTHEST_S, last_end_known
from gateway.store.objects.objects import (
    ObjectKind,
    PreparedObject,
    StoredObject,
    find_by_uid,
    remove_object,
    rename_object,
    uid_key,
    write_object,
)

KIND_PROPERTY = "X-GATEWAY-KIND"
"""How a platform says that an object is its Blocked Slot, not an appointment (R19)."""

_FOREVER = 2**40


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is or is to be: whose, and the last two segments of its path."""

    principal_id: str
    calendar: str
    name: str


@dataclass(frozen=True, slots=True)
class ParsedObject:
    """A body, parsed; what booking has to know of its texts is read out."""

    content: CalendarObject
    title: str
    cancelled: bool
    is_blocked_slot: bool


@dataclass(frozen=True, slots=True)
class Write:
    """One object to be written: what, where, by which kind of login, and whether it may overlap.

    ``fields`` are those of a new appointment.
    """

    place: Place
    parsed: ParsedObject
    login_kind: LoginKind
    allow_overlap: bool = False
    fields: AppointmentFields = NO_FIELDS


@dataclass(frozen=True, slots=True)
class Prepared:
    """An object expanded before the lock, and for whom: zone, addresses or window may change."""

    owner: Owner
    content: PreparedObject


@dataclass(frozen=True, slots=True)
class Written:
    """What a write made: for an appointment its row, and whether it goes upstream.

    ``timeline`` is what was read to see whether its time is free, None when nothing was.
    """

    stored: StoredObject
    is_new: bool
    appointment: Appointment | None = None
    is_pushed: bool = False
    timeline: Timeline | None = None


Check = Callable[[Loaded], None]
"""Raises what a caller refuses of what is there under the lock: conditions, missing things."""


# --- before the lock ---


def parse(body: bytes) -> ParsedObject:
    """Parse a client's body; raises :class:`InvalidCalendarData`."""
    try:
        join_folds(body).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidCalendarData("The body is not UTF-8 (RFC 5545 3.1.4).") from None
    content = parse_calendar_object(body)
    master = content.master
    return ParsedObject(
        content=content,
        title=unescape_text(master.text("SUMMARY")),
        cancelled=master.text("STATUS").upper() == "CANCELLED",
        is_blocked_slot=master.text(KIND_PROPERTY).upper() == "BLOCKED-SLOT",
    )


def prepare(parsed: ParsedObject, owner: Owner, *, name: str, kind: ObjectKind) -> PreparedObject:
    """Expand a parsed object under the rules of its kind: an appointment always blocks (R17)."""
    content = parsed.content
    rules = BusyRules(
        zone=owner.zone, owner_addresses=owner.addresses, always_busy=kind == "appointment"
    )
    return PreparedObject(
        name=name,
        uid=content.uid,
        kind=kind,
        component=content.component,
        etag=content.etag,
        body=content.body,
        expansion=expand_components(content.calendar, owner.window, rules),
    )


def prepare_write(write: Write, loaded: Loaded) -> Prepared:
    """Expand what is to be written for the kind that it has, or will have, at its place."""
    kind = kind_at(write, loaded)
    content = prepare(write.parsed, loaded.owner, name=write.place.name, kind=kind)
    return Prepared(loaded.owner, content)


def kind_at(write: Write, loaded: Loaded) -> ObjectKind:
    """Decide what an object becomes (R19): a known one stays what it is, local ones never book."""
    if loaded.collection is not None and loaded.collection.kind == "local":
        return "blocked-slot"
    if loaded.member is not None:
        return loaded.member.kind
    if write.login_kind == "platform" and not write.parsed.is_blocked_slot:
        return "appointment"
    return "blocked-slot"


# --- inside the unit ---


def put(
    session: Session, write: Write, prepared: Prepared | None, *, check: Check, now: int
) -> Written:
    """Create or replace an object, with its push where it has one.

    What was not prepared, or for an owner or a kind that changed meanwhile, is expanded here.
    Raises what ``check`` does, :class:`UidTaken`, and :class:`SlotTaken` or
    ``availability-unknown`` when a platform login's appointment would land on busy or unknown
    time (R25, R27).
    """
    lock_principal(session, write.place.principal_id)
    loaded = load_place(session, write.place, now=now)
    check(loaded)
    _check_uid(session, loaded, write.place.name, write.parsed.content.uid)
    return put_loaded(session, write, loaded, prepared, now=now)


def put_loaded(
    session: Session, write: Write, loaded: Loaded, prepared: Prepared | None, *, now: int
) -> Written:
    """Like :func:`put`, with the principal locked, ``loaded`` under that lock, the UID unused."""
    collection = _calendar_of(loaded)
    kind = kind_at(write, loaded)
    if prepared is None or prepared.owner != loaded.owner or prepared.content.kind != kind:
        prepared = prepare_write(write, loaded)
    content = prepared.content
    is_appointment = kind == "appointment"
    takes_time = content.expansion.recurring or not write.parsed.cancelled
    checks = is_appointment and takes_time and write.login_kind == "platform"
    timeline = None
    if checks and not write.allow_overlap:
        timeline = _check_free(session, loaded, content, now=now)
    stored = write_object(session, collection, content, loaded.member, now=now)
    is_new = loaded.member is None
    if not is_appointment:
        return Written(stored, is_new)
    row = _note_appointment(session, write, stored, content.expansion, is_new=is_new, now=now)
    if is_new:
        is_pushed = push_new(session, stored, loaded.push_target, now=now)
    else:
        is_pushed = push_changed(session, stored, loaded.push_target, now=now)
    return Written(stored, is_new, row, is_pushed, timeline)


def delete(
    session: Session, place: Place, *, check: Check, now: int, with_body: bool = False
) -> None:
    """Delete an object of ``platform/`` or of a local calendar, upstream too if it was pushed.

    Raises what ``check`` does, and :class:`NotFound`; ``with_body`` shows it the body. The ledger
    row stays (R3, R13), and so does the appointment row.
    """
    lock_principal(session, place.principal_id)
    loaded = load_place(session, place, now=now, with_body=with_body)
    check(loaded)
    delete_loaded(session, loaded, now=now)


def delete_loaded(session: Session, loaded: Loaded, *, now: int) -> None:
    """Like :func:`delete`, with the principal locked and ``loaded`` under that lock."""
    member = _member_of(loaded)
    remove_object(session, _calendar_of(loaded), member, now=now)
    if member.kind == "appointment":
        change_appointment_of(session, member.id, now=now, status="cancelled", object_id=None)
        withdraw_appointment(session, member, loaded.push_target, now=now)


def move(
    session: Session,
    source: Place,
    target: Place,
    *,
    check: Callable[[Loaded, Loaded], None],
    now: int,
) -> bool:
    """Move an object under another name or into another calendar; its kind goes with it.

    Tells whether something at the destination was replaced. An appointment stays in ``platform/``
    (its kind never changes, R19): raises :class:`NotAllowed`; and what ``check`` does.
    """
    here, there = _load_both(session, source, target, now=now)
    check(here, there)
    found, origin, collection = _member_of(here), _calendar_of(here), _calendar_of(there)
    is_inside = origin.id == collection.id
    _check_uid(session, there, target.name, found.uid, moved=source.name if is_inside else None)
    if is_inside:
        rename_object(session, origin, source.name, target.name, now=now)
        return there.member is not None
    if found.kind != "blocked-slot":
        raise NotAllowed("An appointment cannot leave its calendar.", code="appointment-stays")
    if there.member is not None and there.member.kind != "blocked-slot":
        raise NotAllowed("An appointment cannot be replaced so.", code="appointment-stays")
    content = prepare(parse(found.body), there.owner, name=target.name, kind="blocked-slot")
    remove_object(session, origin, found, now=now)
    write_object(session, collection, content, there.member, now=now)
    return there.member is not None


def copy(
    session: Session,
    source: Place,
    target: Place,
    *,
    login_kind: LoginKind,
    check: Callable[[Loaded, Loaded], None],
    now: int,
) -> bool:
    """Copy an object, which becomes what a PUT there makes of it; raises like :func:`put`.

    Tells whether something at the destination was replaced.
    """
    here, there = _load_both(session, source, target, now=now)
    check(here, there)
    found = _member_of(here)
    _check_uid(session, there, target.name, found.uid)
    put_loaded(session, Write(target, parse(found.body), login_kind), there, None, now=now)
    return there.member is not None


def load_place(session: Session, place: Place, *, now: int, with_body: bool = False) -> Loaded:
    """Return what is at a place; raises :class:`NotFound` when the principal is gone."""
    return load_member(
        session, place.principal_id, place.calendar, place.name, now=now, with_body=with_body
    )


def _load_both(
    session: Session, source: Place, target: Place, *, now: int
) -> tuple[Loaded, Loaded]:
    lock_principal(session, source.principal_id)
    here = load_place(session, source, now=now, with_body=True)
    return here, load_place(session, target, now=now)


def _calendar_of(loaded: Loaded) -> Collection:
    if loaded.collection is None:
        raise NotFound("There is no such calendar.")
    return loaded.collection


def _member_of(loaded: Loaded) -> StoredObject:
    if loaded.member is None:
        raise NotFound("There is no such calendar object.")
    return loaded.member


def _check_uid(
    session: Session, loaded: Loaded, name: str, uid: str, *, moved: str | None = None
) -> None:
    """Refuse a UID that another member has, and a change of UID (RFC 4791 5.3.2.1)."""
    collection = _calendar_of(loaded)
    same = find_by_uid(session, collection.id, uid)
    taken = None
    if same is not None and same.name not in (name, moved):
        taken = same
    elif loaded.member is not None and loaded.member.uid != uid_key(uid):
        taken = loaded.member
    if taken is not None:
        raise UidTaken(
            "This UID is used by another event of this calendar.",
            principal_id=collection.principal_id,
            calendar=collection.name,
            name=taken.name,
        )


def _note_appointment(
    session: Session,
    write: Write,
    stored: StoredObject,
    expansion: Expansion,
    *,
    is_new: bool,
    now: int,
) -> Appointment:
    """Keep the row the API lists in step with the object."""
    span = expansion.first_span or (now, now)
    status: AppointmentStatus = "cancelled" if write.parsed.cancelled else "confirmed"
    title = write.parsed.title
    if not is_new:
        changes = {"title": title, "start": span[0], "end": span[1], "status": status}
        row = change_appointment_of(session, stored.id, now=now, **changes)
        if row is not None:
            return row
    return create_appointment(
        session,
        principal_id=stored.principal_id,
        object_id=stored.id,
        title=title,
        span=span,
        status=status,
        fields=write.fields,
        now=now,
    )


# --- whether the time is free ---


def _check_free(
    session: Session, loaded: Loaded, prepared: PreparedObject, *, now: int
) -> Timeline | None:
    """Refuse time the object did not have before and somebody else has; return what was read."""
    principal_id, known = loaded.owner.principal_id, loaded.member
    if known is not None and _keeps_far_time(session, prepared, known, loaded.coverage):
        return None
    wanted = _blocking_spans(session, principal_id, prepared, loaded.coverage, now)
    if known is not None and wanted:
        window = (wanted[0][0], wanted[-1][1])
        wanted = subtract(wanted, time_of_object(session, known, window))
        keeps_end = known.last_end == prepared.expansion.last_end
        if keeps_end and all(start >= prepared.expansion.window[1] for start, _ in wanted):
            return None  # a series that keeps its times as far as can be seen
    return check_span_free(
        session,
        principal_id,
        wanted,
        now=now,
        without_object=known.id if known is not None else None,
        extent=loaded.extent,
    )


def _blocking_spans(
    session: Session,
    principal_id: str,
    prepared: PreparedObject,
    coverage: Interval | None,
    now: int,
) -> list[Interval]:
    """Return the time an object would take; of a series only what can be compared.

    While all is expanded anew, after a change of zone or rules, nothing can: all of it is asked
    for, and found unknown.
    """
    expansion = prepared.expansion
    spans = merge(
        (instance.busy_start, instance.busy_end)
        for instance in expansion.instances
        if instance.fbtype != FBType.FREE
    )
    if expansion.recurring:
        is_ahead = coverage is not None and coverage[1] > expansion.window[0]
        spans = clip(spans, coverage) if coverage is not None and is_ahead else spans
        spans += _unknown_ahead(session, principal_id, prepared, coverage, now)
    start, end = expansion.first_start, expansion.last_end
    if expansion.instances or start is None or start < expansion.window[1]:
        return spans
    if expansion.recurring:
        return [(start, start + 1)]  # where it begins: the rest is as little known
    return [(start, end)] if end is not None else spans


def _unknown_ahead(
    session: Session,
    principal_id: str,
    prepared: PreparedObject,
    coverage: Interval | None,
    now: int,
) -> list[Interval]:
    """Return a moment nothing is known of when something is booked beyond what is expanded (R27).

    A series that goes there may land on it; whoever books asks for the expansion first.
    """
    needed = span_to_know(session, principal_id, prepared)
    if needed is None or coverage is None or coverage[1] <= prepared.expansion.window[0]:
        return []
    known_until = min(coverage[1], prepared.expansion.window[1])
    if min(needed[1], now + FARTHEST_S - DAY) <= max(known_until, needed[0]):
        return []
    return [(known_until, known_until + 1)]


def time_to_know(session: Session, write: Write, prepared: Prepared) -> Interval | None:
    """Return the time that must be known before this is written; None for what may overlap."""
    if prepared.content.kind != "appointment" or write.login_kind != "platform":
        return None
    return span_to_know(session, prepared.owner.principal_id, prepared.content)


def span_to_know(session: Session, principal_id: str, prepared: PreparedObject) -> Interval | None:
    """Return the time that must be known before an appointment is booked; None without a time.

    Of a series that is as far as anything is booked, within what is ever expanded.
    """
    expansion = prepared.expansion
    start, end = expansion.first_start, expansion.last_end
    if start is None:
        return None
    if expansion.recurring:
        booked = last_end_known(session, principal_id, without=prepared.name)
        end = min(_FOREVER if end is None else end, booked)
    return (start, max(start + 1, end)) if end is not None else None


def _keeps_far_time(
    session: Session, prepared: PreparedObject, known: StoredObject, coverage: Interval | None
) -> bool:
    """Tell whether an appointment beyond what is expanded stays where it is, and blocks there."""
    expansion = prepared.expansion
    before, after = (known.first_start, known.last_end), (expansion.first_start, expansion.last_end)
    start = expansion.first_start
    # An extension that was asked for and is not done yet expands this object farther than others.
    is_far = coverage is not None and start is not None and start >= coverage[1]
    if (expansion.instances and not is_far) or before != after:
        return False
    row = find_appointment_by_object(session, known.id)
    return row is not None and row.status == "confirmed"
