"""Putting and deleting objects of ``platform/`` and of local calendars (R13, R14, R19, R27).

Both faces come through here: the CalDAV server and the API. A body is parsed and expanded before
any lock (:func:`read_draft`, :func:`prepare_draft`); the functions that take a ``Session`` lock
the principal, decide, and write object, appointment row, ledger and errand in that one unit.
"""

from dataclasses import dataclass
from uuid import uuid4
from zoneinfo import ZoneInfo

from gateway.core.content_lines import unescape_text, unfold
from gateway.core.errors import Conflict, InvalidCalendarData
from gateway.core.fbtype import FBType
from gateway.core.instances import default_window, expand
from gateway.core.intervals import Interval, intersect, merge, subtract
from gateway.core.objects import CalendarObject, parse_calendar_object
from gateway.core.reader import Component, read_calendar
from gateway.core.rows import BusyRules
from gateway.store.bookings import (
    AppointmentStatus,
    PushTarget,
    create_appointment,
    drop_errands,
    find_appointment_by_object,
    find_push_target,
    holds_in,
    span_of_object,
    update_appointment,
    was_tried,
)
from gateway.store.busy import busy_rows, list_sources
from gateway.store.collections import Collection
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import (
    ObjectKind,
    PreparedObject,
    StoredObject,
    delete_objects,
    find_object,
    get_object,
    save_object,
)
from gateway.store.outbox import (
    Action,
    LedgerRow,
    create_ledger_row,
    enqueue,
    find_ledger_by_object,
    park_all,
    update_ledger,
)
from gateway.store.principals import LoginKind, Principal

KIND_PROPERTY = "X-GATEWAY-KIND"
"""How a platform says that an object is its Blocked Slot, not an appointment (R19)."""

SLOT_TAKEN = "slot-taken"


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
        body.decode("utf-8")
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
) -> PreparedObject:
    """Expand a draft under the rules of its kind: an appointment always blocks (R17)."""
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
        expansion=expand(parsed.body, default_window(now), rules),
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
        )
    is_appointment = kind == "appointment"
    if is_appointment and login_kind == "platform" and not allow_overlap:
        _check_free(session, principal.id, prepared, known, now=now)
    stored = save_object(session, collection, prepared, now=now)
    if is_appointment:
        _note_appointment(session, draft, stored, now=now)
        _push(session, stored, is_new=known is None, now=now)
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
        _withdraw(session, found, now=now)


delete_platform_object = delete_local_object


def check_span_free(
    session: Session,
    principal_id: str,
    spans: list[Interval],
    *,
    now: int,
    without_object: str | None = None,
    without_hold: str | None = None,
) -> None:
    """Raise :class:`Conflict` ``slot-taken`` when any of the spans touches busy or held time.

    Call it inside the unit that writes, after :func:`lock_principal` (R27). ``spans`` are merged.
    """
    if not spans:
        return
    window = (spans[0][0], spans[-1][1])
    sources = [source.collection_id for source in list_sources(session, principal_id)]
    rows = busy_rows(session, principal_id, window, sources, without_object=without_object)
    taken = [(start, end) for start, end, _fbtype, _collection in rows]
    held = holds_in(session, principal_id, window, now=now)
    taken += [(hold.start, hold.end) for hold in held if hold.id != without_hold]
    if intersect(spans, merge(taken)):
        raise Conflict("This time is taken; nothing was booked.", code=SLOT_TAKEN)


def _check_free(
    session: Session,
    principal_id: str,
    prepared: PreparedObject,
    known: StoredObject | None,
    *,
    now: int,
) -> None:
    """Refuse time the object did not have before and somebody else has."""
    wanted = merge(
        (instance.busy_start, instance.busy_end)
        for instance in prepared.expansion.instances
        if instance.fbtype != FBType.FREE
    )
    if known is not None:
        wanted = subtract(wanted, _own_time(session, principal_id, known, wanted))
    check_span_free(
        session,
        principal_id,
        wanted,
        now=now,
        without_object=known.id if known is not None else None,
    )


def _own_time(
    session: Session, principal_id: str, known: StoredObject, wanted: list[Interval]
) -> list[Interval]:
    if not wanted:
        return []
    window = (wanted[0][0], wanted[-1][1])
    rows = busy_rows(session, principal_id, window, [known.collection_id], only_object=known.id)
    return merge((start, end) for start, end, _fbtype, _collection in rows)


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


def _push(session: Session, stored: StoredObject, *, is_new: bool, now: int) -> None:
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


def _withdraw(session: Session, gone: StoredObject, *, now: int) -> None:
    """Take a deleted appointment back from iCloud, unless it never got there."""
    ledger = find_ledger_by_object(session, gone.id)
    if ledger is None:
        return
    update_ledger(session, ledger.id, now=now, object_id=None)
    may_be_there = ledger.state == "pushed" or ledger.upstream_etag or ledger.sent_hash
    if may_be_there or was_tried(session, ledger.id):
        if ledger.state != "deleted":
            target = find_push_target(session, gone.principal_id)
            _send(session, ledger, target, "delete", now=now)
    else:
        drop_errands(session, ledger.id)
        update_ledger(session, ledger.id, now=now, state="deleted")


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


def _master(body: bytes, component: str) -> Component:
    """Return the master component of a body, or its first when it has overrides only."""
    found = [c for c in read_calendar(unfold(body), full=True).components if c.name == component]
    masters = [c for c in found if c.first("RECURRENCE-ID") is None]
    return (masters or found or [Component(component)])[0]
