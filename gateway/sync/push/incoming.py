"""Our own pushed objects as iCloud holds them now: changed, moved or deleted there (R17).

They are never mirrored: the appointment in ``platform/`` stands for them. Its time follows
iCloud, its texts are the platform's. This is the half that reads; ``outgoing`` writes.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.core.appointments.adoption import Times, judge_times
from gateway.core.appointments.meaning import adopt_times, same_meaning, same_times
from gateway.core.appointments.upstream_body import has_guests
from gateway.core.errors import (
    InvalidCalendarData,
    UpstreamError,
    UpstreamForbidden,
    UpstreamNotFound,
    UpstreamUnreachable,
)
from gateway.core.ical.objects import parse_calendar_object, peek_uid
from gateway.core.recurrence.expand import BusyRules, default_window
from gateway.expansion.prepare import RawObject
from gateway.store.access.principals import get_principal
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Connection
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.booking import bookings
from gateway.store.booking.conflicts import ConflictKind, Side, count_refused, record_conflict
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import collections, objects
from gateway.store.objects.objects import PreparedObject, StoredObject
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow
from gateway.sync.context import SyncContext
from gateway.upstream.client import UpstreamClient
from gateway.upstream.icloud import MULTIGET_BATCH

CONTESTED_S = 3600
MOST_REFUSED = 3
"""Of so many unusable times found upstream within that span the next is not answered by writing."""

GUESTS = "guests-added-upstream"
LISTED_UNREADABLE = "incomplete-answer"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _Own:
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


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a version found upstream means here: a new time, conflicts, something to put back.

    ``emptied``: no instance is left of it, which is a deletion.
    """

    prepared: PreparedObject | None = None
    conflicts: tuple[tuple[ConflictKind, Side, bytes], ...] = ()
    put_back: bool = False
    emptied: bool = False


async def take_version(
    context: SyncContext,
    connection: Connection,
    calendar: UpstreamCalendar,
    ledger_id: str,
    raw: RawObject,
) -> bool:
    """Take what iCloud holds of an own object now; returns whether the appointment changed.

    The time is iCloud's, the texts are the platform's and go back up, everything else found there
    stays. What either side loses by that is kept as a conflict. A move to another calendar or
    name is followed.
    """
    for _ in range(_ATTEMPTS):
        own = await context.store.read(_load_own, ledger_id, context.now())
        verdict = _judge(own, raw, now=context.now())
        done = await context.store.write(
            _write_version, own, connection.id, calendar, raw, verdict, now=context.now()
        )
        if done:
            return verdict.prepared is not None
    return False  # somebody edits it right now; the next pull sees the same ETag again


def _load_own(session: Session, ledger_id: str, now: int) -> _Own:
    row = outbox.get_ledger_row(session, ledger_id)
    local = objects.find_object_by_id(session, row.object_id) if row.object_id else None
    return _Own(
        row=row,
        local=local,
        waiting=outbox.has_errand(session, ledger_id),
        zone=get_principal(session, row.principal_id).time_zone,
        addresses=bookings.owner_addresses(session, row.principal_id),
        contested=count_refused(session, ledger_id, since=now - CONTESTED_S) >= MOST_REFUSED,
    )


def _judge(own: _Own, raw: RawObject, *, now: int) -> _Verdict:
    local, row = own.local, own.row
    if raw.etag == row.upstream_etag:
        return _Verdict()
    # What we know to have been there: as last seen, and as sent when no answer came.
    known = [body for body in (row.base_body, row.sent_body) if body is not None]
    if local is None:  # withdrawn here, its deletion is on the way
        lost = bool(known) and not any(same_meaning(body, raw.body) for body in known)
        return _Verdict(conflicts=(("deleted-here", "upstream", raw.body),) if lost else ())
    conflicts: list[tuple[ConflictKind, Side, bytes]] = []
    prepared = None
    if not any(same_times(body, raw.body) for body in (local.body, *known)):
        times, prepared = _with_their_times(own, local, raw.body, now=now)
        if times is Times.EMPTIED:
            return _Verdict(emptied=True)
        if prepared is None:
            return _keep_time(own, raw)
        if own.waiting and known and not same_times(known[0], local.body):
            conflicts.append(("time", "local", local.body))
    edited = bool(known) and not any(_same_words(raw.body, body) for body in known)
    put_back = edited and not _same_words(local.body, raw.body)
    if put_back:
        conflicts.append(("text", "upstream", raw.body))
    return _Verdict(prepared, tuple(conflicts), put_back)


def _keep_time(own: _Own, raw: RawObject) -> _Verdict:
    """What blocks nothing cannot be an appointment's time: it keeps its own, which goes back up.

    A few times in an hour: should iCloud itself write it, each of our writes brings the next.
    """
    conflicts: tuple[tuple[ConflictKind, Side, bytes], ...] = ()
    if not own.contested:
        conflicts = (("time", "upstream", raw.body),)
    return _Verdict(conflicts=conflicts, put_back=not own.contested)


def _same_words(a: bytes, b: bytes) -> bool:
    """Whether two bodies have the same texts, STATUS and TRANSP: equal once the times are."""
    try:
        return same_meaning(adopt_times(a, b), b)
    except InvalidCalendarData:
        return False


def _with_their_times(
    own: _Own, local: StoredObject, theirs: bytes, *, now: int
) -> tuple[Times, PreparedObject | None]:
    """Return what their times amount to, and the appointment with them if they can be its own."""
    try:
        body = adopt_times(local.body, theirs)
        parsed = parse_calendar_object(body)
    except InvalidCalendarData:
        return Times.UNUSABLE, None
    rules = BusyRules(ZoneInfo(own.zone), own.addresses, always_busy=True)
    times, expansion = judge_times(body, default_window(now), rules)
    if times is not Times.USABLE:
        return times, None
    return times, PreparedObject(
        name=local.name,
        uid=parsed.uid,
        kind=local.kind,
        component=parsed.component,
        etag=parsed.etag,
        body=parsed.body,
        expansion=expansion,
    )


def _write_version(
    session: Session,
    own: _Own,
    connection_id: str,
    calendar: UpstreamCalendar,
    raw: RawObject,
    verdict: _Verdict,
    *,
    now: int,
) -> bool:
    """Write ledger and object together; False when these or the zone changed since."""
    row, local = own.row, own.local
    lock_principal(session, row.principal_id)
    current = _load_own(session, row.id, now)
    if current.row.upstream_etag != row.upstream_etag or current.waiting != own.waiting:
        return False
    if (current.local.etag if current.local else None) != (local.etag if local else None):
        return False
    if (current.zone, current.addresses) != (own.zone, own.addresses):
        return False
    guests = has_guests(raw.body)
    state = "parked" if guests else row.state if own.waiting else "pushed"
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
        reason=GUESTS if guests else None if state == "pushed" else row.reason,
    )
    for kind, dropped, body in verdict.conflicts:
        record_conflict(session, row, kind=kind, dropped=dropped, body=body, now=now)
    if verdict.emptied:
        _cancel(session, row.id, now=now)
        return True
    if verdict.prepared is not None and local is not None:
        _save_adopted(session, local, verdict.prepared, now=now)
    if verdict.put_back and not guests and not own.waiting:
        outbox.enqueue(
            session, ledger_id=row.id, connection_id=connection_id, action="put", now=now
        )
    return True


def _save_adopted(
    session: Session, local: StoredObject, prepared: PreparedObject, *, now: int
) -> None:
    collection = collections.lock_collection(session, local.collection_id)
    stored = objects.save_object(session, collection, prepared, now=now)
    appointment = bookings.find_appointment_by_object(session, stored.id)
    span = bookings.span_of_object(session, stored.id)
    if span is None and stored.first_start is not None:  # beyond what is expanded
        span = (stored.first_start, stored.last_end or stored.first_start)
    if appointment is not None and span is not None:
        bookings.update_appointment(session, appointment.id, now=now, start=span[0], end=span[1])


# --- deleted or moved there ---


async def take_deletion(
    context: SyncContext,
    connection: Connection,
    client: UpstreamClient,
    ledger_id: str,
) -> None:
    """An own object is gone from where it was: follow it if it moved, else cancel (R17)."""
    own = await context.store.read(_load_own, ledger_id, context.now())
    if own.row.state == "deleted" or own.row.upstream_etag is None:
        return
    found = await find_moved(context, connection, client, own.row, own.local)
    if found is not None:
        calendar, raw = found
        await take_version(context, connection, calendar, own.row.id, raw)
        return
    await context.store.write(_cancel, own.row.id, now=context.now())


async def find_moved(
    context: SyncContext,
    connection: Connection,
    client: UpstreamClient,
    row: LedgerRow,
    local: StoredObject | None,
) -> tuple[UpstreamCalendar, RawObject] | None:
    """Look into the account's other event calendars for the object, by name and by UID.

    Raises :class:`UpstreamUnreachable` ``incomplete-answer`` when a calendar lists it and cannot
    hand it out yet: reads were seen to lag behind listings.
    """
    everywhere = [
        calendar
        for calendar in await context.store.read(calendars.list_calendars, connection.id)
        if calendar.kind == "calendar" and calendar.state != "gone"
    ]
    await check_unlisted(client, row.upstream_path, row.upstream_name)
    others = [calendar for calendar in everywhere if calendar.path != row.upstream_path]
    for calendar in others:
        fetched = await client.get(calendar.path + row.upstream_name)
        if fetched.body is not None and peek_uid(fetched.body) == row.upstream_uid:
            return calendar, RawObject(fetched.name, fetched.etag, fetched.body)
    start = local.first_start if local is not None else None
    for calendar in others if start is not None else ():
        raw = await _find_by_uid(client, calendar.path, row.upstream_uid, start or 0)
        if raw is not None:
            return calendar, raw
    for calendar in others:
        with suppress(UpstreamNotFound):
            await check_unlisted(client, calendar.path, row.upstream_name)
    return None


async def check_unlisted(client: UpstreamClient, path: str, name: str) -> None:
    """Raise :class:`UpstreamUnreachable` when a collection lists a name: it is there after all.

    Raises :class:`UpstreamNotFound` when there is no such collection: what a host that answers
    404 to everything says of one object proves nothing. One that may not be read has no say.
    """
    try:
        listed = await client.members(path)
    except UpstreamForbidden:
        return
    if name in listed:
        raise UpstreamUnreachable(
            "iCloud lists an object that cannot be read yet.", code=LISTED_UNREADABLE, status=207
        )


async def _find_by_uid(client: UpstreamClient, path: str, uid: str, start: int) -> RawObject | None:
    """Search around a time: a UID filter is refused upstream."""
    moment = datetime.fromtimestamp(start, UTC)
    low, high = moment - timedelta(days=1), moment + timedelta(days=2)
    try:
        names = list(
            await client.members_between(path, f"{low:%Y%m%dT%H%M%SZ}", f"{high:%Y%m%dT%H%M%SZ}")
        )
        for i in range(0, len(names), MULTIGET_BATCH):
            for fetched in (await client.multiget(path, names[i : i + MULTIGET_BATCH])).values():
                if fetched.body is not None and peek_uid(fetched.body) == uid:
                    return RawObject(fetched.name, fetched.etag, fetched.body)
    except UpstreamError as error:
        if error.retryable or error.status == 401:
            raise
    return None


def _cancel(session: Session, ledger_id: str, *, now: int) -> None:
    """It is really gone: cancel the appointment, free the time, drop what was to be sent."""
    row = outbox.get_ledger_row(session, ledger_id)
    lock_principal(session, row.principal_id)
    own = _load_own(session, ledger_id, now)
    local = own.local
    if local is not None and own.waiting:
        record_conflict(
            session, own.row, kind="deleted-upstream", dropped="local", body=local.body, now=now
        )
    outbox.drop_errands(session, ledger_id)
    outbox.update_ledger(
        session, ledger_id, now=now, state="deleted", object_id=None, reason="deleted-upstream"
    )
    if local is None:
        return
    appointment = bookings.find_appointment_by_object(session, local.id)
    if appointment is not None:
        bookings.update_appointment(
            session, appointment.id, now=now, status="cancelled", object_id=None
        )
    collection = collections.lock_collection(session, local.collection_id)
    objects.delete_objects(session, collection, [local.name], now=now)
