"""Outbox to upstream: the only place that writes into iCloud (R13-R17).

A message is marked in doubt before it is sent. Should the answer never be seen, the next attempt
looks (GET) before it repeats: what arrived is not sent twice, what did not is not lost.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from gateway.core.appointments.meaning import same_meaning
from gateway.core.appointments.reconcile import GUESTS, parks
from gateway.core.appointments.upstream_body import build_upstream_body
from gateway.core.errors import (
    CredentialRejected,
    InvalidCalendarData,
    NotFound,
    UpstreamError,
    UpstreamNotFound,
    UpstreamPrecondition,
    UpstreamThrottled,
)
from gateway.expansion.prepare import RawObject
from gateway.isolation import EVERYBODYS
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Connection
from gateway.store.engine import Session
from gateway.store.objects import objects
from gateway.store.objects.objects import StoredObject
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage
from gateway.sync.context import SyncContext
from gateway.sync.push.incoming import (
    check_unlisted,
    find_moved,
    load_own,
    record_lost,
    take_deletion,
    take_version,
)
from gateway.sync.push.parked import REFUSALS_BEFORE_PARKING, Parked, is_refused_again
from gateway.upstream.client import UpstreamClient
from gateway.upstream.dav_xml import Fetched

FIRST_DELAY_S = 30.0
LONGEST_DELAY_S = 3600.0
UNKNOWN_ETAG = '"?"'
"""Stands for the ETag of what was sent when the answer had none; it matches no version."""

_NOT_THERE = "iCloud does not know this calendar at the moment; it is asked again."


@dataclass
class Pusher:
    """The pushes of one account during one run."""

    context: SyncContext
    connection: Connection
    client: UpstreamClient
    zone: ZoneInfo
    sent: int = 0
    missing: dict[str, float] = field(default_factory=dict)
    """Calendars that answered 404 in this run: {path: when to ask again}."""
    until: float | None = None
    """No push begins after this moment of the loop's clock."""
    left: bool = False
    """The rest was left, because somebody waits to read this account (R28)."""

    async def may_go_on(self) -> bool:
        """Whether the next push may begin: between two of them whoever waits to read goes first."""
        if self.until is not None and asyncio.get_running_loop().time() >= self.until:
            return False
        self.left = await self.context.is_wanted(self.connection.id)
        return not self.left


@dataclass(frozen=True, slots=True)
class _Job:
    """A message with what it is about, as read in one unit."""

    message: OutboxMessage
    ledger: LedgerRow
    local: StoredObject | None
    calendar_gone: bool


async def write_upstream(
    client: UpstreamClient, ledger: LedgerRow, body: bytes | None, *, if_match: str | None
) -> str | None:
    """Write one object upstream: the one function that does (R13).

    The ledger row names the resource and is the permission. ``body`` None deletes that very
    version; else it is created (``if_match`` None) or replaced. Returns the ETag if one came.
    """
    path = f"{ledger.upstream_path}{ledger.upstream_name}"
    if body is not None:
        return await client.put(path, body, if_match=if_match)
    if if_match is None:
        raise ValueError("a deletion names the version it deletes")
    await client.delete(path, if_match=if_match)
    return None


async def push_messages(pusher: Pusher, messages: Sequence[OutboxMessage]) -> int:
    """Run due messages of an account, oldest first; returns how many were done.

    The rest waits when the time is up, or when somebody wants to read the account.

    Raises :class:`CredentialRejected`, :class:`UpstreamThrottled` and what an upstream that does
    not answer raises: the account has to wait.
    """
    done = 0
    for message in messages:
        if not await pusher.may_go_on():
            break
        done += await _run_message(pusher, message)
    return done


async def _run_message(pusher: Pusher, message: OutboxMessage) -> bool:
    """Run one message; an error nobody foresaw stops it alone."""
    try:
        return await _attempt(pusher, message)
    except (*EVERYBODYS, UpstreamError):
        raise
    except Exception as error:
        await _set_aside(pusher, message, error)
        return False


async def _attempt(pusher: Pusher, message: OutboxMessage) -> bool:
    store = pusher.context.store
    try:
        job = await store.read(_load_job, message.id)
    except NotFound:
        return False  # done or dropped meanwhile
    try:
        if job.calendar_gone:
            raise Parked("linked-calendar-gone")
        if job.ledger.upstream_path in pusher.missing:
            raise UpstreamNotFound(_NOT_THERE, status=404)
        if message.action == "delete":
            await _delete(pusher, job)
        else:
            await _put(pusher, job)
    except Parked as parked:
        await store.write(_park, job, parked, now=pusher.context.now())
        return False
    except (CredentialRejected, UpstreamThrottled) as error:
        await _postpone(pusher, job, error, in_doubt=False)
        raise
    except UpstreamNotFound as error:  # of the calendar: an object's is handled where it is met
        due_at = pusher.missing.get(job.ledger.upstream_path)
        due_at = await _postpone(pusher, job, error, in_doubt=False, due_at=due_at)
        pusher.missing[job.ledger.upstream_path] = due_at
        return False
    except UpstreamError as error:
        await _postpone(pusher, job, error, in_doubt=error.status is None or error.status >= 500)
        if error.status is None:
            raise  # nobody answers: the other messages wait with the account
        return False
    return True


async def _set_aside(pusher: Pusher, message: OutboxMessage, error: Exception) -> None:
    """Let what failed unforeseen wait, soon for a person; the others go on.

    Whether it was sent is not known, so it is looked up before it is repeated.
    """
    context = pusher.context
    context.messages.failed(str(message.id), error)
    told = Parked("push-failed")
    if message.attempts + 1 >= REFUSALS_BEFORE_PARKING:
        await context.store.write(_park_message, message, told, now=context.now())
        return
    delay = FIRST_DELAY_S * 2 ** min(message.attempts, 10) * context.random.uniform(0.8, 1.2)
    await context.store.write(
        outbox.postpone,
        message,
        due_at=context.clock() + delay,
        reason=told.code,
        detail=told.detail,
        in_doubt=True,
    )


def _park_message(session: Session, message: OutboxMessage, parked: Parked, *, now: int) -> None:
    outbox.park(session, message.id, reason=parked.code, detail=parked.detail)
    outbox.update_ledger(session, message.ledger_id, now=now, state="parked", reason=parked.code)


def _load_job(session: Session, message_id: int) -> _Job:
    message = outbox.get_message(session, message_id)
    ledger = outbox.get_ledger_row(session, message.ledger_id)
    local = objects.find_object_by_id(session, ledger.object_id) if ledger.object_id else None
    calendar_id = ledger.upstream_calendar_id or ""
    known = calendars.calendars_by_id(session, [calendar_id]).get(calendar_id)
    return _Job(message, ledger, local, calendar_gone=known is None or known.state == "gone")


async def _postpone(
    pusher: Pusher, job: _Job, error: UpstreamError, *, in_doubt: bool, due_at: float | None = None
) -> float:
    """Try again later, at ``due_at`` if given; returns when."""
    context = pusher.context
    delay = min(FIRST_DELAY_S * 2 ** min(job.message.attempts, 10), LONGEST_DELAY_S)
    if isinstance(error, UpstreamThrottled) and error.retry_after_s:
        delay = max(delay, 2 * error.retry_after_s)
    due_at = due_at or context.clock() + delay * context.random.uniform(0.8, 1.2)
    await context.store.write(
        outbox.postpone,
        job.message,
        due_at=due_at,
        reason=error.code,
        detail=error.detail,
        in_doubt=in_doubt or job.message.in_doubt,
    )
    return due_at


def _park(session: Session, job: _Job, parked: Parked, *, now: int) -> None:
    if job.message.action == "delete":  # it stays in iCloud, and blocks there like any event
        calendars.relist_calendar(session, job.ledger.upstream_calendar_id or "")
    _park_message(session, job.message, parked, now=now)


# --- put ---


async def _put(pusher: Pusher, job: _Job) -> None:
    """Create or update; what iCloud did meanwhile is taken first, then ours goes on top."""
    if job.local is None:
        await pusher.context.store.write(outbox.finish, job.message.id)
        return
    if job.ledger.reason == GUESTS:
        raise Parked(GUESTS)
    _check_parked(job.ledger.base_body)
    if job.message.in_doubt:
        job = await _take_theirs(pusher, job, await _look(pusher, job))
        if job.local is None:
            return
    body = _build(pusher, job)
    if _is_unchanged(job, body):
        await pusher.context.store.write(_note_done, job, None, now=pusher.context.now())
        return
    try:
        await _send(pusher, job, body)
    except UpstreamPrecondition:
        await _resolve(pusher, job)
    except UpstreamNotFound:
        await _explain_not_found(pusher, job)
    except UpstreamError as error:
        if error.retryable or isinstance(error, CredentialRejected):
            raise
        _park_after(job, error)
        raise


def _check_parked(theirs: bytes | None) -> None:
    if reason := parks(theirs):
        raise Parked(reason)


def _build(pusher: Pusher, job: _Job) -> bytes:
    assert job.local is not None
    try:
        return build_upstream_body(
            job.local.body,
            uid=job.ledger.upstream_uid,
            now=datetime.fromtimestamp(pusher.context.now(), UTC),
            zone=pusher.zone,
            sequence=_sequence(job),
            upstream=job.ledger.base_body,
        )
    except InvalidCalendarData as error:
        raise Parked("not-pushable", error.detail) from error


def _sequence(job: _Job) -> int:
    return job.ledger.sequence + 1 if job.ledger.upstream_etag else 0


def _is_unchanged(job: _Job, body: bytes) -> bool:
    """Skip a PUT that would change nothing: sharers' phones ring for each."""
    base = job.ledger.base_body
    return base is not None and job.ledger.upstream_etag is not None and same_meaning(base, body)


async def _look(pusher: Pusher, job: _Job) -> Fetched:
    return await pusher.client.get(job.ledger.upstream_path + job.ledger.upstream_name)


async def _send(pusher: Pusher, job: _Job, body: bytes) -> None:
    """PUT, then read again: the ETag of a PUT does not promise that our bytes were kept."""
    if not await pusher.context.store.write(_mark_sent, job, body, now=pusher.context.now()):
        return
    etag = await write_upstream(pusher.client, job.ledger, body, if_match=job.ledger.upstream_etag)
    there = await _look(pusher, job)
    sent = Fetched(job.ledger.upstream_name, 200, etag or UNKNOWN_ETAG, body)
    if there.body is None or there.etag == job.ledger.upstream_etag:
        await _record(pusher, job, sent)  # reads lag behind writes
    elif there.etag == etag or same_meaning(there.body, body):
        await _record(pusher, job, there)
    else:  # changed on a phone in this very moment
        await _record(pusher, job, sent)
        await _take_theirs(pusher, job, there)


def _mark_sent(session: Session, job: _Job, body: bytes, *, now: int) -> bool:
    if not outbox.mark_in_doubt(session, job.message.id):
        return False
    outbox.update_ledger(session, job.ledger.id, now=now, sent_body=body)
    return True


async def _record(pusher: Pusher, job: _Job, there: Fetched) -> None:
    pusher.sent += 1
    await pusher.context.store.write(_note_done, job, there, now=pusher.context.now())


def _note_done(session: Session, job: _Job, there: Fetched | None, *, now: int) -> None:
    """Record what iCloud holds now and finish the message, in one unit."""
    outbox.finish(session, job.message.id)
    changes: dict[str, object] = {"state": "pushed", "reason": None}
    if there is not None and job.local is not None:
        changes.update(
            upstream_etag=there.etag,
            base_body=there.body,
            sent_body=None,
            sequence=_sequence(job),
        )
    outbox.update_ledger(session, job.ledger.id, now=now, **changes)


# --- when iCloud says no ---


async def _resolve(pusher: Pusher, job: _Job) -> None:
    """412: somebody changed it, the ETag drifted, or name or UID are taken."""
    there = await _look(pusher, job)
    if there.body is None and job.ledger.upstream_etag is None:
        # Tombstoned or taken elsewhere: never the same name or UID again. Unless reads lag.
        await check_unlisted(pusher.client, job.ledger.upstream_path, job.ledger.upstream_name)
        if is_refused_again(job.message):
            raise Parked("upstream-refused")
        await pusher.context.store.write(_rename, job, now=pusher.context.now())
        raise UpstreamPrecondition("iCloud holds this name or UID already.", status=412)
    job = await _take_theirs(pusher, job, there)
    if job.local is None:
        return
    body = _build(pusher, job)
    if there.body is not None and same_meaning(there.body, body):
        await _record(pusher, job, there)
        return
    if is_refused_again(job.message):
        raise Parked("upstream-refused")
    await _send(pusher, job, body)


def _rename(session: Session, job: _Job, *, now: int) -> None:
    uid = str(uuid4())
    changes = {"upstream_uid": uid, "upstream_name": f"{uid}.ics", "sent_body": None}
    outbox.update_ledger(session, job.ledger.id, now=now, **changes)


async def _take_theirs(pusher: Pusher, job: _Job, there: Fetched) -> _Job:
    """Take what iCloud holds first: its time wins, its deletion cancels, its guests park (R17)."""
    context = pusher.context
    if there.body is None:
        if job.ledger.upstream_etag is not None:
            await take_deletion(context, pusher.connection, pusher.client, job.ledger.id)
    else:
        _check_parked(there.body)
        found = await context.store.read(
            calendars.get_calendar, job.ledger.upstream_calendar_id or ""
        )
        raw = RawObject(job.ledger.upstream_name, there.etag, there.body)
        await take_version(context, pusher.connection, found, job.ledger.id, raw)
    try:
        return await context.store.read(_load_job, job.message.id)
    except NotFound:
        return _Job(job.message, job.ledger, None, calendar_gone=False)


async def _explain_not_found(pusher: Pusher, job: _Job) -> None:
    """404 to a PUT: iCloud dislikes the body and says no more, unless the calendar is 404 too.

    That alone does not prove it gone (R11): the push waits, and parks once two home listings
    lacked it.
    """
    await pusher.client.propfind(job.ledger.upstream_path, ("D:resourcetype",), depth=0)
    if job.ledger.upstream_etag is not None:
        there = await _look(pusher, job)
        if there.body is None:
            await _take_theirs(pusher, job, there)
            return
    error = UpstreamError("iCloud refuses this event.", code="upstream-refused", status=404)
    _park_after(job, error)
    raise error


def _park_after(job: _Job, error: UpstreamError) -> None:
    if is_refused_again(job.message):
        raise Parked("upstream-refused") from error


# --- delete ---


async def _delete(pusher: Pusher, job: _Job) -> None:
    """Look just before, then delete that very version; somebody else's guests are not ours."""
    for _ in range(3):
        there = await _look(pusher, job)
        if there.body is None or there.etag is None:
            if await _follow(pusher, job):
                job = await pusher.context.store.read(_load_job, job.message.id)
                continue
            break
        _check_parked(there.body)
        await pusher.context.store.write(_mark_deleted, job, there, now=pusher.context.now())
        try:
            await write_upstream(pusher.client, job.ledger, None, if_match=there.etag)
        except UpstreamNotFound:
            break
        except UpstreamPrecondition:
            continue
        pusher.sent += 1
        break
    else:
        raise UpstreamPrecondition("The event keeps changing in iCloud.", status=412)
    await pusher.context.store.write(_note_deleted, job, now=pusher.context.now())


async def _follow(pusher: Pusher, job: _Job) -> bool:
    """Whether it was moved to another calendar rather than deleted: then it is followed (R17)."""
    context, connection = pusher.context, pusher.connection
    found = await find_moved(context, connection, pusher.client, job.ledger, job.local)
    if found is not None:
        await take_version(context, connection, found[0], job.ledger.id, found[1])
    return found is not None


def _mark_deleted(session: Session, job: _Job, there: Fetched, *, now: int) -> None:
    """Before deleting: what was edited in iCloud in the meantime is kept as a conflict."""
    outbox.mark_in_doubt(session, job.message.id)
    own = replace(load_own(session, job.ledger.id, now), local=None)
    theirs = RawObject(job.ledger.upstream_name, there.etag, there.body or b"")
    record_lost(session, job.ledger, own.decide(theirs, now=now), now=now)
    outbox.update_ledger(
        session, job.ledger.id, now=now, base_body=there.body, upstream_etag=there.etag
    )


def _note_deleted(session: Session, job: _Job, *, now: int) -> None:
    outbox.finish(session, job.message.id)
    outbox.update_ledger(session, job.ledger.id, now=now, state="deleted", reason=None)
