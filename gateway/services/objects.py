"""Putting and deleting objects of ``platform/`` and of local calendars (R13, R14, R19, R27).

Both faces come through here: the CalDAV server and the API. A body is parsed and expanded before
any lock (:func:`read_draft`, :func:`prepare_draft`); the functions that take a ``Session`` lock
the principal, decide, and write object, appointment row, ledger and errand in that one unit.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.core.errors import InvalidCalendarData, NotAllowed
from gateway.core.ical.lines import join_folds, unescape_text, unfold
from gateway.core.ical.objects import CalendarObject, parse_calendar_object
from gateway.core.ical.reader import Component, read_calendar
from gateway.core.intervals import DAY, Interval, clip, merge, subtract
from gateway.core.recurrence.expand import default_window, expand
from gateway.core.recurrence.model import BusyRules
from gateway.core.status import FBType
from gateway.services.availability import check_span_free, time_of_object
from gateway.services.pushes import push_appointment, withdraw_appointment
from gateway.store.access.principals import LoginKind, Principal, get_principal
from gateway.store.booking.bookings import (
    AppointmentStatus,
    create_appointment,
    find_appointment_by_object,
    owner_addresses,
    span_of_object,
    update_appointment,
)
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import Collection
from gateway.store.objects.horizons import FARTHEST_S, last_end_known, window_of
from gateway.store.objects.objects import (
    ObjectKind,
    PreparedObject,
    StoredObject,
    delete_objects,
    find_object,
    get_coverage,
    get_object,
    rename_object,
    save_object,
)

KIND_PROPERTY = "X-GATEWAY-KIND"
"""How a platform says that an object is its Blocked Slot, not an appointment (R19)."""

_FOREVER = 2**40


@dataclass(frozen=True, slots=True)
class Draft:
    """A client's body, parsed; what booking has to know of its texts is read out."""

    calendar_object: CalendarObject
    title: str
    cancelled: bool
    is_blocked_slot: bool


# --- before the lock ---


def read_draft(body: bytes) -> Draft:
    """Parse a client's body; raises :class:`InvalidCalendarData`."""
    try:
        join_folds(body).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidCalendarData("The body is not UTF-8 (RFC 5545 3.1.4).") from None
    parsed = parse_calendar_object(body)
    master = _master(body, parsed.component)
    return Draft(
        calendar_object=parsed,
        title=unescape_text(master.text("SUMMARY")),
        cancelled=master.text("STATUS").upper() == "CANCELLED",
        is_blocked_slot=master.text(KIND_PROPERTY).upper() == "BLOCKED-SLOT",
    )


def prepare_draft(
    draft: Draft,
    *,
    name: str,
    kind: ObjectKind,
    principal: Principal,
    addresses: frozenset[str],
    now: int,
    window: Interval | None = None,
) -> PreparedObject:
    """Expand a draft under the rules of its kind: an appointment always blocks (R17).

    ``window`` is that of the person (:func:`window_of`), by default the rolling one.
    """
    parsed = draft.calendar_object
    rules = BusyRules(
        zone=ZoneInfo(principal.time_zone),
        owner_addresses=addresses,
        always_busy=kind == "appointment",
    )
    return PreparedObject(
        name=name,
        uid=parsed.uid,
        kind=kind,
        component=parsed.component,
        etag=parsed.etag,
        body=parsed.body,
        expansion=expand(parsed.body, window or default_window(now), rules),
    )


def kind_of_new(login_kind: LoginKind, draft: Draft) -> ObjectKind:
    """Decide what a new object of ``platform/`` becomes (R19)."""
    if login_kind == "platform" and not draft.is_blocked_slot:
        return "appointment"
    return "blocked-slot"


# --- inside the unit ---


def put_platform_object(
    session: Session,
    *,
    principal: Principal,
    login_kind: LoginKind,
    collection: Collection,
    draft: Draft,
    prepared: PreparedObject,
    addresses: frozenset[str] = frozenset(),
    now: int,
    allow_overlap: bool = False,
) -> StoredObject:
    """Create or replace an object of ``platform/``, with its push where it has one.

    ``prepared`` is the draft expanded for the kind the caller expects; should the object turn
    out to be of the other kind it is expanded again. Raises :class:`Conflict` ``slot-taken``
    when a platform login's appointment would land on busy time (R27).
    """
    lock_principal(session, principal.id)
    known = find_object(session, collection.id, prepared.name)
    kind = known.kind if known is not None else kind_of_new(login_kind, draft)
    if prepared.kind != kind:
        prepared = prepare_draft(
            draft,
            name=prepared.name,
            kind=kind,
            principal=principal,
            addresses=addresses,
            now=now,
            window=window_of(session, principal.id, now=now),
        )
    is_appointment = kind == "appointment"
    takes_time = prepared.expansion.recurring or not draft.cancelled
    if is_appointment and takes_time and login_kind == "platform" and not allow_overlap:
        _check_free(session, principal.id, prepared, known, now=now)
    stored = save_object(session, collection, prepared, now=now)
    if is_appointment:
        _note_appointment(session, draft, stored, now=now)
        push_appointment(session, stored, is_new=known is None, now=now)
    return stored


def put_local_object(
    session: Session,
    *,
    principal: Principal,
    collection: Collection,
    prepared: PreparedObject,
    now: int,
) -> StoredObject:
    """Create or replace an object of a local calendar: a Blocked Slot, never pushed (R14, R18)."""
    lock_principal(session, principal.id)
    return save_object(session, collection, prepared, now=now)


def delete_local_object(
    session: Session, *, principal: Principal, collection: Collection, name: str, now: int
) -> None:
    """Delete an object of ``platform/`` or of a local calendar, upstream too if it was pushed.

    Raises :class:`NotFound`. The ledger row stays (R3, R13), and so does the appointment row.
    """
    lock_principal(session, principal.id)
    found = get_object(session, collection.id, name)
    delete_objects(session, collection, [name], now=now)
    if found.kind == "appointment":
        row = find_appointment_by_object(session, found.id)
        if row is not None:
            update_appointment(session, row.id, now=now, status="cancelled", object_id=None)
        withdraw_appointment(session, found, now=now)


delete_platform_object = delete_local_object


def move_object(
    session: Session,
    *,
    source: Collection,
    name: str,
    target: Collection,
    new_name: str,
    now: int,
) -> None:
    """Move an object under another name or into another calendar; its kind goes with it.

    An appointment stays in ``platform/`` (its kind never changes, R19): raises
    :class:`NotAllowed`. An object already at the destination is replaced.
    """
    lock_principal(session, source.principal_id)
    found = get_object(session, source.id, name)
    if source.id == target.id:
        rename_object(session, source, name, new_name, now=now)
        return
    if found.kind != "blocked-slot":
        raise NotAllowed("An appointment cannot leave its calendar.", code="appointment-stays")
    principal = get_principal(session, source.principal_id)
    prepared = prepare_draft(
        read_draft(found.body),
        name=new_name,
        kind="blocked-slot",
        principal=principal,
        addresses=owner_addresses(session, principal.id),
        now=now,
        window=window_of(session, principal.id, now=now),
    )
    there = find_object(session, target.id, new_name)
    if there is not None and there.kind != "blocked-slot":
        raise NotAllowed("An appointment cannot be replaced so.", code="appointment-stays")
    delete_objects(session, source, [name], now=now)
    save_object(session, target, prepared, now=now)


def _check_free(
    session: Session,
    principal_id: str,
    prepared: PreparedObject,
    known: StoredObject | None,
    *,
    now: int,
) -> None:
    """Refuse time the object did not have before and somebody else has."""
    if known is not None and _keeps_far_time(session, prepared, known):
        return
    wanted = _blocking_spans(session, principal_id, prepared, now)
    if known is not None and wanted:
        window = (wanted[0][0], wanted[-1][1])
        own = time_of_object(session, known, window)
        wanted = subtract(wanted, own)
        keeps_end = known.last_end == prepared.expansion.last_end
        if keeps_end and all(start >= prepared.expansion.window[1] for start, _ in wanted):
            return  # a series that keeps its times as far as can be seen
    check_span_free(
        session,
        principal_id,
        wanted,
        now=now,
        without_object=known.id if known is not None else None,
    )


def _blocking_spans(
    session: Session, principal_id: str, prepared: PreparedObject, now: int
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
        coverage = get_coverage(session, principal_id)
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


def _keeps_far_time(session: Session, prepared: PreparedObject, known: StoredObject) -> bool:
    """Tell whether an appointment beyond what is expanded stays where it is, and blocks there."""
    expansion = prepared.expansion
    before, after = (known.first_start, known.last_end), (expansion.first_start, expansion.last_end)
    coverage = get_coverage(session, known.principal_id)
    start = expansion.first_start
    # An extension that was asked for and is not done yet expands this object farther than others.
    is_far = coverage is not None and start is not None and start >= coverage[1]
    if (expansion.instances and not is_far) or before != after:
        return False
    row = find_appointment_by_object(session, known.id)
    return row is not None and row.status == "confirmed"


def _note_appointment(session: Session, draft: Draft, stored: StoredObject, *, now: int) -> None:
    """Keep the row the API lists in step with the object."""
    span = span_of_object(session, stored.id)
    if span is None:
        span = (stored.first_start or now, stored.last_end or stored.first_start or now)
    status: AppointmentStatus = "cancelled" if draft.cancelled else "confirmed"
    row = find_appointment_by_object(session, stored.id)
    if row is None:
        create_appointment(
            session,
            principal_id=stored.principal_id,
            object_id=stored.id,
            title=draft.title,
            span=span,
            status=status,
            now=now,
        )
    else:
        update_appointment(
            session,
            row.id,
            now=now,
            title=draft.title,
            start=span[0],
            end=span[1],
            status=status,
        )


def _master(body: bytes, component: str) -> Component:
    """Return the master component of a body, or its first when it has overrides only."""
    found = [c for c in read_calendar(unfold(body), full=True).components if c.name == component]
    masters = [c for c in found if c.first("RECURRENCE-ID") is None]
    return (masters or found or [Component(component)])[0]
