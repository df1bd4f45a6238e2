"""One run over one account: push, list, pull what moved, say how it went (R4, R9, R12).

An idle account costs one request: the listing of its home.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from zoneinfo import ZoneInfo

from gateway.core.errors import (
    Conflict,
    CredentialRejected,
    NotFound,
    UpstreamError,
    UpstreamNotFound,
    UpstreamThrottled,
)
from gateway.observe import logger, metrics
from gateway.store import accounts, calendars, leases, principals
from gateway.store.accounts import Connection, Credential
from gateway.store.calendars import UpstreamCalendar
from gateway.store.engine import Session, lock_principal
from gateway.sync import outcome
from gateway.sync.context import SyncContext
from gateway.sync.listing import apply_listing
from gateway.sync.pull import (
    PULLED_ROLES,
    Run,
    Superseded,
    needs_pull,
    note_failure,
    pull_calendar,
)
from gateway.sync.push import Pusher, push_account
from gateway.sync.report import CalendarReport, Progress, SyncReport
from gateway.upstream.discovery import Listed, discover, list_home

RECONCILE_EVERY_S = 86_400
LEASE_WAIT_S = 30.0
_log = logger("sync")


async def sync_account(
    context: SyncContext,
    connection_id: str,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> SyncReport:
    """Sync one account now, whatever its due time; waits while another run has it.

    What iCloud does is told in the report, never raised. Raises :class:`NotFound` for an unknown
    connection and :class:`Conflict` ``sync-running`` when the account stays leased elsewhere.
    """
    async with leased(context, connection_id):
        return await run_account(context, connection_id, progress=progress)


@asynccontextmanager
async def leased(
    context: SyncContext, connection_id: str, *, wait_s: float = LEASE_WAIT_S
) -> AsyncIterator[None]:
    """Hold the account: one run at a time in this process, one process at a time (design 6).

    The lease is renewed meanwhile; should it be lost, the run is cancelled.
    """
    async with context.lock(connection_id):
        await _take_lease(context, connection_id, wait_s)
        run = asyncio.current_task()
        keeper = asyncio.create_task(_keep_lease(context, connection_id, run))
        try:
            yield
        finally:
            await _completed(_give_back(context, connection_id, keeper))


async def _give_back(
    context: SyncContext, connection_id: str, keeper: "asyncio.Task[None]"
) -> None:
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await context.store.write(leases.free_lease, connection_id, owner=context.owner)


async def _completed(work: Coroutine[None, None, None]) -> None:
    """Await ``work`` to its end even while being cancelled: a lease must not be left behind."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _take_lease(context: SyncContext, connection_id: str, wait_s: float) -> None:
    await context.store.read(accounts.get_connection, connection_id)
    deadline = asyncio.get_running_loop().time() + wait_s
    while not await context.store.write(
        leases.try_lease,
        connection_id,
        owner=context.owner,
        now=context.clock(),
        lease_s=context.settings.lease_s,
    ):
        if asyncio.get_running_loop().time() >= deadline:
            raise Conflict("This account is being synced elsewhere.", code="sync-running")
        await asyncio.sleep(0.1)


async def _keep_lease(
    context: SyncContext, connection_id: str, run: "asyncio.Task[object] | None"
) -> None:
    while True:
        await asyncio.sleep(context.settings.lease_s / 3)
        kept = await context.store.write(
            leases.renew_lease,
            connection_id,
            owner=context.owner,
            now=context.clock(),
            lease_s=context.settings.lease_s,
        )
        if not kept and run is not None:
            run.cancel("the lease was lost")
            return


async def run_account(
    context: SyncContext,
    connection_id: str,
    *,
    progress: Callable[[Progress], None] | None = None,
    push_only: bool = False,
) -> SyncReport:
    """Run over an account that is leased already; ``push_only`` sends and does not look."""
    report = SyncReport(connection_id)
    try:
        run = await _open(context, connection_id, progress)
    except NotFound as error:
        report.state, report.problem, report.detail = "disconnected", error.code, error.detail
        return report
    connection = run.connection
    if connection.state in ("paused", "disconnected"):
        report.state = report.problem = connection.state
        return report
    try:
        if connection.state == "ok":
            report.pushed = await push_account(Pusher(context, connection, run.client, run.zone))
        if not push_only:
            await _pull(run, report)
            await outcome.note_success(context, connection)
        report.state = "ok"
    except (UpstreamError, Superseded) as error:
        report.problem, report.detail = error.code, error.detail
        report.state = await outcome.note_failure(context, connection, error)
    report.requests = run.client.requests
    _observe(run, report)
    return report


async def _open(
    context: SyncContext, connection_id: str, progress: Callable[[Progress], None] | None
) -> Run:
    connection, credential, zone = await context.store.read(_load, context, connection_id)
    client = context.client(connection_id, credential)
    return Run(context, connection, client, zone, progress)


def _load(
    session: Session, context: SyncContext, connection_id: str
) -> tuple[Connection, Credential, ZoneInfo]:
    connection = accounts.get_connection(session, connection_id)
    credential = accounts.load_credential(session, context.keyring, connection_id)
    zone = ZoneInfo(principals.get_principal(session, connection.principal_id).time_zone)
    return connection, credential, zone


# --- pulling ---


async def _pull(run: Run, report: SyncReport) -> None:
    context, connection = run.context, run.connection
    listed = await _list(run)
    known = await context.store.write(_note_listing, connection, listed, now=context.now())
    reconcile = _is_reconcile_due(connection, context.now())
    in_use = [c for c in known if c.role in PULLED_ROLES and c.state != "gone"]
    todo = [c for c in in_use if needs_pull(c) or (reconcile and c.state == "ok")]
    for calendar in todo:
        report.calendars.append(await _pull_one(run, calendar, reconcile=reconcile))
    quiet = [c.id for c in in_use if c not in todo and c.state == "ok" and c.missing_since is None]
    await context.store.write(_touch, connection, quiet, reconcile, now=context.now())


async def _list(run: Run) -> tuple[Listed, ...]:
    """List the home; when it is not where it was, discover the account anew."""
    connection = run.connection
    try:
        return await list_home(
            run.client, connection.home_path or "/", principal_path=connection.principal_path
        )
    except UpstreamNotFound:
        credential = await run.context.store.read(
            accounts.load_credential, run.context.keyring, connection.id
        )
        found = await discover(run.client, email=credential.email)
        await run.context.store.write(
            accounts.update_connection,
            connection.id,
            principal_path=found.principal_path,
            home_path=found.home_path,
            addresses=found.addresses,
        )
        run.connection = replace(connection, home_path=found.home_path)
        return found.calendars


def _note_listing(
    session: Session, connection: Connection, listed: tuple[Listed, ...], *, now: int
) -> list[UpstreamCalendar]:
    lock_principal(session, connection.principal_id)
    return apply_listing(session, connection.id, listed, now=now)


def _is_reconcile_due(connection: Connection, now: int) -> bool:
    return now - (connection.reconciled_at or connection.created_at) >= RECONCILE_EVERY_S


def _touch(
    session: Session, connection: Connection, quiet: list[str], reconciled: bool, *, now: int
) -> None:
    if quiet:
        calendars.touch_synced(session, quiet, now=now)
    if reconciled:
        accounts.update_connection(session, connection.id, reconciled_at=now)


async def _pull_one(run: Run, calendar: UpstreamCalendar, *, reconcile: bool) -> CalendarReport:
    """Pull one calendar; its own failure leaves the others alone."""
    try:
        return await pull_calendar(run, calendar, reconcile=reconcile)
    except Superseded as error:
        return CalendarReport(calendar.id, calendar.name, problem=error.code)
    except UpstreamError as error:
        if isinstance(error, CredentialRejected | UpstreamThrottled) or error.status is None:
            raise
        await run.context.store.write(note_failure, run.connection.principal_id, calendar, error)
        return CalendarReport(calendar.id, calendar.name, problem=error.code)


def _observe(run: Run, report: SyncReport) -> None:
    counts = metrics()
    counts.sync_runs.labels(report.problem or "ok").inc()
    for calendar in report.calendars:
        for what in ("changed", "removed", "repaired"):
            counts.sync_objects.labels(what).inc(getattr(calendar, what))
    if run.connection.synced_at is not None:
        counts.sync_age.observe(max(0.0, run.context.clock() - run.connection.synced_at))
    if report.problem is not None:
        _log.warning("sync failed", connection=report.connection_id, code=report.problem)
