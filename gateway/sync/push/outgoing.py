"""Outbox to upstream: the only place that writes into iCloud (R13-R17).

A message is marked in doubt before it is sent. Should the answer never be seen, the next attempt
looks (GET) before it repeats: what arrived is not sent twice, what did not is not lost.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
from gateway.services.outbox import outcomes
from gateway.services.outbox.outcomes import PushJob
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Connection
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage
from gateway.sync.context import SyncContext
from gateway.sync.push.incoming import (
    check_unlisted,
    find_moved,
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
        job = await store.read(outcomes.load_job, message.id)
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
        await _park(pusher, job, parked)
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
        await context.store.write(
            outcomes.park, message, reason=told.code, detail=told.detail, now=context.now()
        )
        return
    delay = FIRST_DELAY_S * 2 ** min(message.attempts, 10) * context.random.uniform(0.8, 1.2)
    await context.store.write(
        outcomes.postpone,
        message,
        due_at=context.clock() + delay,
        reason=told.code,
        detail=told.detail,
        in_doubt=True,
    )


async def _postpone(
    pusher: Pusher,
    job: PushJob,
    error: UpstreamError,
    *,
    in_doubt: bool,
    due_at: float | None = None,
) -> float:
    """Try again later, at ``due_at`` if given; returns when."""
    context = pusher.context
    delay = min(FIRST_DELAY_S * 2 ** min(job.message.attempts, 10), LONGEST_DELAY_S)
    if isinstance(error, UpstreamThrottled) and error.retry_after_s:
        delay = max(delay, 2 * error.retry_after_s)
    due_at = due_at or context.clock() + delay * context.random.uniform(0.8, 1.2)
    await context.store.write(
        outcomes.postpone,
        job.message,
        due_at=due_at,
        reason=error.code,
        detail=error.detail,
        in_doubt=in_doubt or job.message.in_doubt,
    )
    return due_at


async def _park(pusher: Pusher, job: PushJob, parked: Parked) -> None:
    context = pusher.context
    told = {"reason": parked.code, "detail": parked.detail}
    await context.store.write(outcomes.park_job, job, **told, now=context.now())


# --- put ---


async def _put(pusher: Pusher, job: PushJob) -> None:
    """Create or update; what iCloud did meanwhile is taken first, then ours goes on top."""
    if job.local is None:
        await pusher.context.store.write(outcomes.note_withdrawn, job)
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
        await pusher.context.store.write(outcomes.note_unchanged, job, now=pusher.context.now())
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


def _build(pusher: Pusher, job: PushJob) -> bytes:
    assert job.local is not None
    try:
        return build_upstream_body(
            job.local.body,
            uid=job.ledger.upstream_uid,
            now=datetime.fromtimestamp(pusher.context.now(), UTC),
            zone=pusher.zone,
            sequence=job.sequence,
            upstream=job.ledger.base_body,
        )
    except InvalidCalendarData as error:
        raise Parked("not-pushable", error.detail) from error


def _is_unchanged(job: PushJob, body: bytes) -> bool:
    """Skip a PUT that would change nothing: sharers' phones ring for each."""
    base = job.ledger.base_body
    return base is not None and job.ledger.upstream_etag is not None and same_meaning(base, body)


async def _look(pusher: Pusher, job: PushJob) -> Fetched:
    return await pusher.client.get(job.ledger.upstream_path + job.ledger.upstream_name)


async def _send(pusher: Pusher, job: PushJob, body: bytes) -> None:
    """PUT, then read again: the ETag of a PUT does not promise that our bytes were kept."""
    if not await pusher.context.store.write(
        outcomes.note_sending, job, body, now=pusher.context.now()
    ):
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


async def _record(pusher: Pusher, job: PushJob, there: Fetched) -> None:
    pusher.sent += 1
    await pusher.context.store.write(
        outcomes.note_pushed, job, etag=there.etag, body=there.body, now=pusher.context.now()
    )


# --- when iCloud says no ---


async def _resolve(pusher: Pusher, job: PushJob) -> None:
    """412: somebody changed it, the ETag drifted, or name or UID are taken."""
    there = await _look(pusher, job)
    if there.body is None and job.ledger.upstream_etag is None:
        # Tombstoned or taken elsewhere: never the same name or UID again. Unless reads lag.
        await check_unlisted(pusher.client, job.ledger.upstream_path, job.ledger.upstream_name)
        if is_refused_again(job.message):
            raise Parked("upstream-refused")
        await pusher.context.store.write(outcomes.rename_upstream, job, now=pusher.context.now())
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


async def _take_theirs(pusher: Pusher, job: PushJob, there: Fetched) -> PushJob:
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
        return await context.store.read(outcomes.load_job, job.message.id)
    except NotFound:
        return PushJob(job.message, job.ledger, None, calendar_gone=False)


async def _explain_not_found(pusher: Pusher, job: PushJob) -> None:
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


def _park_after(job: PushJob, error: UpstreamError) -> None:
    if is_refused_again(job.message):
        raise Parked("upstream-refused") from error


# --- delete ---


async def _delete(pusher: Pusher, job: PushJob) -> None:
    """Look just before, then delete that very version; somebody else's guests are not ours."""
    for _ in range(3):
        there = await _look(pusher, job)
        if there.body is None or there.etag is None:
            if await _follow(pusher, job):
                job = await pusher.context.store.read(outcomes.load_job, job.message.id)
                continue
            break
        _check_parked(there.body)
        theirs = RawObject(job.ledger.upstream_name, there.etag, there.body)
        await pusher.context.store.write(
            outcomes.note_deleting, job, theirs, now=pusher.context.now()
        )
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
    await pusher.context.store.write(outcomes.note_deleted, job, now=pusher.context.now())


async def _follow(pusher: Pusher, job: PushJob) -> bool:
    """Whether it was moved to another calendar rather than deleted: then it is followed (R17)."""
    context, connection = pusher.context, pusher.connection
    found = await find_moved(context, connection, pusher.client, job.ledger, job.local)
    if found is not None:
        await take_version(context, connection, found[0], job.ledger.id, found[1])
    return found is not None
