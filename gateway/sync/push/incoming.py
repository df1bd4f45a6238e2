"""Our own pushed objects as iCloud holds them now: changed, moved or deleted there (R17).

They are never mirrored: the appointment in ``platform/`` stands for them. Its time follows
iCloud, its texts are the platform's. Here iCloud is read; what that changes here is written by
:mod:`gateway.services.outbox.own_objects`, and ``outgoing`` writes to iCloud.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from gateway.core.errors import (
    UpstreamError,
    UpstreamForbidden,
    UpstreamNotFound,
    UpstreamUnreachable,
)
from gateway.core.ical.objects import peek_uid
from gateway.expansion.prepare import RawObject
from gateway.services.outbox.own_objects import apply_deletion, apply_version, load_own
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Connection
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.objects.objects import StoredObject
from gateway.store.outbox.outbox import LedgerRow
from gateway.sync.context import SyncContext
from gateway.upstream.client import UpstreamClient
from gateway.upstream.icloud import MULTIGET_BATCH

LISTED_UNREADABLE = "incomplete-answer"
_ATTEMPTS = 3


async def take_version(
    context: SyncContext,
    connection: Connection,
    calendar: UpstreamCalendar,
    ledger_id: str,
    raw: RawObject,
) -> bool:
    """Take what iCloud holds of an own object now; returns whether the appointment changed.

    What that means is decided by :mod:`gateway.core.appointments.reconcile`. A move to another
    calendar or name is followed.
    """
    for _ in range(_ATTEMPTS):
        own = await context.store.read(load_own, ledger_id, context.now())
        decision = own.decide(raw, now=context.now())
        done = await context.store.write(
            apply_version, own, connection.id, calendar, raw, decision, now=context.now()
        )
        if done:
            return decision.body is not None
    return False  # somebody edits it right now; the next pull sees the same ETag again


# --- deleted or moved there ---


async def take_deletion(
    context: SyncContext,
    connection: Connection,
    client: UpstreamClient,
    ledger_id: str,
) -> None:
    """Follow an own object that is gone from where it was, or cancel it (R17)."""
    own = await context.store.read(load_own, ledger_id, context.now())
    if own.row.state == "deleted" or own.row.upstream_etag is None:
        return
    found = await find_moved(context, connection, client, own.row, own.local)
    if found is not None:
        calendar, raw = found
        await take_version(context, connection, calendar, own.row.id, raw)
        return
    await context.store.write(apply_deletion, own.row, now=context.now())


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
