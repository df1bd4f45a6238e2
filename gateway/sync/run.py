"""One run over one account: push, list, pull what moved, say how it went (R4, R9, R12).

An idle account costs one request: the listing of its home.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32
from zoneinfo import ZoneInfo

from gateway.core.errors import (
    CredentialRejected,
    GatewayError,
    RunCrashed,
    SecretUnreadable,
    UpstreamError,
    UpstreamForbidden,
    UpstreamNotFound,
    UpstreamThrottled,
)
from gateway.isolation import EVERYBODYS
from gateway.observe import logger, metrics
from gateway.services.accounts import connecting, polls
from gateway.services.accounts.mirrors import Superseded, note_pull_failed, note_superseded
from gateway.services.accounts.polls import RunEnd
from gateway.store.accounts import runs
from gateway.store.accounts.accounts import Connection
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.accounts.runs import IdleEnd, OpenedAccount
from gateway.store.outbox import outbox
from gateway.sync import outcome
from gateway.sync.context import SyncContext
from gateway.sync.lease import Lease, leased
from gateway.sync.pull.calendar import (
    Run,
    is_due_again,
    needs_pull,
    pull_calendar,
)
from gateway.sync.pull.verify import judge_calendars
from gateway.sync.push.outgoing import Pusher, push_messages
from gateway.sync.report import CalendarReport, Progress, SyncReport
from gateway.upstream.discovery import (
    ask_home,
    find_home,
    find_principal,
    read_listing,
)
from gateway.upstream.wire import Response

RECONCILE_EVERY_S = 86_400
_log = logger("sync")


@dataclass(frozen=True, slots=True)
class Mode:
    """What one run does.

    ``push_only`` sends and does not look; it begins no push after ``push_within_s``.
    ``read_only`` looks and sends nothing, and asks for every member that is catching up: somebody
    waits for the answer. ``only_if_due`` does nothing when another run of this process was faster.
    """

    push_only: bool = False
    read_only: bool = False
    only_if_due: bool = False
    push_within_s: float | None = None


WHOLE = Mode()


async def sync_account(
    context: SyncContext,
    connection_id: str,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> SyncReport:
    """Sync one account now, whatever its due time; waits while another run has it.

    What iCloud does is told in the report, never raised. Raises :class:`NotFound` for an unknown
    connection and :class:`StateConflict` ``sync-running`` when the account stays leased elsewhere.
    """
    while True:
        async with leased(context, connection_id) as lease:
            report = await run_account(context, connection_id, lease, progress=progress)
        if not report.left:
            break
    report.outcomes = await context.store.read(judge_calendars, report)
    return report


async def run_account(
    context: SyncContext,
    connection_id: str,
    lease: Lease,
    *,
    opened: OpenedAccount | None = None,
    progress: Callable[[Progress], None] | None = None,
    mode: Mode = WHOLE,
) -> SyncReport:
    """Run over an account that is held, as far as ``mode`` says.

    ``opened`` is the account as just read, else it is read here. A run that ends by an error
    nobody foresaw is told like any failed one; only what ails the database itself is raised.
    """
    report = SyncReport(connection_id)
    try:
        await _run(context, report, lease, opened, progress, mode)
    except EVERYBODYS:
        raise
    except Exception as error:
        state = await outcome.note_crash(context, connection_id, error)
        if state is None:
            raise  # there is no such connection (any more)
        told = outcome.foreseen(error)
        report.state, report.problem, report.detail = state, told.code, told.detail
        _tell_crash(report, error)
    return report


def _tell_crash(report: SyncReport, error: Exception) -> None:
    """Log and count a crash; accounts that fail come rarely, so that each is worth its line."""
    metrics().sync_runs.labels(report.problem).inc()
    metrics().failures.labels("accounts", report.problem).inc()
    told = _log.warning if isinstance(error, GatewayError) else _log.exception
    told("run did not end", connection=report.connection_id, code=report.problem)


async def _run(
    context: SyncContext,
    report: SyncReport,
    lease: Lease,
    opened: OpenedAccount | None,
    progress: Callable[[Progress], None] | None,
    mode: Mode,
) -> None:
    connection_id = report.connection_id
    if opened is None:
        opened = await context.store.read(runs.open_account, context.keyring, connection_id)
        if mode.only_if_due and not _is_due(context, opened):
            return
    context.budget(connection_id).restore(opened.recent_requests)
    connection = opened.connection
    if connection.state in ("paused", "disconnected"):
        report.state = report.problem = connection.state
        return
    if opened.credential is None:
        raise SecretUnreadable("A part of this account's credential is not there.")
    client = context.client(connection_id, opened.credential)
    zone = ZoneInfo(opened.time_zone)
    run = Run(context, connection, client, zone, progress, catch_up=mode.read_only)
    try:
        if opened.has_message and connection.state == "ok" and not mode.read_only:
            await _push_first(run, report, mode.push_within_s)
        if not mode.push_only and not report.left:
            lease.released = await _pull(run, opened, report, only_if_due=mode.only_if_due)
            context.refusals.note(connection, now=context.clock(), is_refused=False, is_dead=False)
        report.state = "ok"
    except (UpstreamError, Superseded) as error:
        report.problem, report.detail = error.code, error.detail
        report.state = await outcome.note_failure(context, connection, error)
    report.requests = client.requests
    _observe(run, report)


def _is_due(context: SyncContext, opened: OpenedAccount) -> bool:
    now = context.clock()
    held = opened.lease_owner == context.owner and opened.lease_until > now
    return held and opened.connection.next_sync_at <= now


async def _push_first(run: Run, report: SyncReport, within_s: float | None) -> None:
    """Push; what goes wrong there unforeseen is told, and reading goes on."""
    try:
        await _push(run, report, within_s)
    except (*EVERYBODYS, UpstreamError):
        raise
    except Exception as error:
        run.context.messages.failed(run.connection.id, error)
        report.push_crashed = True


async def _push(run: Run, report: SyncReport, within_s: float | None) -> None:
    context, connection = run.context, run.connection
    messages = await context.store.read(outbox.due_messages, connection.id, now=context.clock())
    until = None if within_s is None else asyncio.get_running_loop().time() + within_s
    pusher = Pusher(context, connection, run.client, run.zone, until=until)
    run.client.is_pushing = True
    try:
        report.pushed = await push_messages(pusher, messages)
    finally:
        run.client.is_pushing = False
    report.left = pusher.left


# --- pulling ---


async def _pull(run: Run, opened: OpenedAccount, report: SyncReport, *, only_if_due: bool) -> bool:
    """List and pull what moved; returns whether the end was written, the lease given back."""
    context, connection = run.context, run.connection
    asked_at = context.now()  # whoever is found current was so then
    answer = await _ask(run)
    reconcile = _is_reconcile_due(connection, context.now())
    ending = outcome.success(context, connection) | _crashes(report)
    polls.bring_forward(ending, opened.retry_at, now=context.clock())
    due_at = ending["next_sync_at"]
    if reconcile:
        ending["reconciled_at"] = context.now()
    elif isinstance(due_at, float) and not _crashes(report) and _is_idle(run, opened, answer):
        idle = IdleEnd(connection, due_at, context.budget(connection.id).dump())
        if await context.idle_runs.note(idle, now=asked_at):
            return True
    listed = read_listing(answer, run.connection.home_path or "/")
    ending["listing_digest"] = answer.digest
    ending["recent_requests"] = context.budget(connection.id).dump()
    known, todo, ended = await context.store.write_repeatable(
        polls.take_listing,
        RunEnd(connection, context.owner, ending),
        listed,
        partial(_is_due_for_pull, run, reconcile),
        now=asked_at,
    )
    if not todo:
        return ended
    resting = context.calendars.resting if only_if_due else frozenset()
    for calendar in todo:
        if calendar.id in resting:
            report.calendars.append(_left_alone(calendar))
        else:
            report.calendars.append(await _pull_one(run, calendar, reconcile=reconcile))
    ending |= _crashes(report)
    if any(one.problem is not None for one in report.calendars):
        ending.pop("synced_at", None)  # the account is as current as its calendars
    ending["recent_requests"] = context.budget(connection.id).dump()
    return await context.store.write_repeatable(
        polls.end_run, RunEnd(connection, context.owner, ending), known, todo, now=asked_at
    )


def _is_due_for_pull(run: Run, reconcile: bool, calendar: UpstreamCalendar) -> bool:
    if needs_pull(calendar) or is_due_again(run, calendar):
        return True
    return reconcile and polls.is_quiet(calendar)


def _is_retry_due(run: Run, opened: OpenedAccount) -> bool:
    """Whether some member that could not be read is asked for again now (R9)."""
    if opened.retry_at is None:
        return False
    return run.catch_up or opened.retry_at <= run.context.clock()


def _is_idle(run: Run, opened: OpenedAccount, answer: Response) -> bool:
    """Whether an account in good health has nothing to tell: its home is listed as it was."""
    is_well = opened.connection.state == "ok" and opened.connection.problem is None
    if _is_retry_due(run, opened):
        return False
    return is_well and opened.is_settled and answer.digest == opened.listing_digest


def _is_reconcile_due(connection: Connection, now: int) -> bool:
    """Whether a day has passed, or the last quarter of it begun that is drawn for this account.

    Accounts that were connected together, or waited together, come apart by that (R12).
    """
    last = connection.reconciled_at or connection.created_at
    drawn = crc32(f"{connection.id} {last}".encode()) / 2**32
    return now - last >= RECONCILE_EVERY_S * (1 - drawn / 4)


async def _ask(run: Run) -> Response:
    """List the home; when it is not where it was, find it anew (404, at times 403)."""
    connection = run.connection
    try:
        return await ask_home(
            run.client, connection.home_path or "/", principal_path=connection.principal_path
        )
    except (UpstreamNotFound, UpstreamForbidden):
        principal_path = await find_principal(run.client)
        home_path, addresses = await find_home(run.client, principal_path)
        if home_path == connection.home_path:
            raise
    own = {*connection.addresses, *addresses}
    await run.context.store.write_repeatable(
        connecting.move_home,
        connection.id,
        principal_path=principal_path,
        home_path=home_path,
        addresses=own,
    )
    run.connection = replace(connection, home_path=home_path, addresses=tuple(sorted(own)))
    return await ask_home(run.client, home_path)


async def _pull_one(run: Run, calendar: UpstreamCalendar, *, reconcile: bool) -> CalendarReport:
    """Pull one calendar; its own failure leaves the others alone."""
    try:
        done = await pull_calendar(run, calendar, reconcile=reconcile)
        run.context.calendars.succeeded(calendar.id)
        return done
    except Superseded as error:
        await run.context.store.write_repeatable(note_superseded, calendar.id)
        return CalendarReport(calendar.id, calendar.name, problem=error.code, detail=error.detail)
    except UpstreamError as error:
        if isinstance(error, CredentialRejected | UpstreamThrottled) or error.status is None:
            raise
        await run.context.store.write_repeatable(
            note_pull_failed, run.connection.principal_id, calendar, error
        )
        return CalendarReport(calendar.id, calendar.name, problem=error.code, detail=error.detail)
    except EVERYBODYS:
        raise
    except Exception as error:  # the account's other calendars go on, this one is tried again
        run.context.calendars.failed(calendar.id, error)
        told = outcome.foreseen(error)
        await run.context.store.write_repeatable(
            note_pull_failed, run.connection.principal_id, calendar, told
        )
        return CalendarReport(
            calendar.id, calendar.name, problem=told.code, detail=told.detail, crashed=True
        )


def _left_alone(calendar: UpstreamCalendar) -> CalendarReport:
    """Report a calendar whose last pull crashed a moment ago: its problem stands in the store."""
    problem = calendar.problem or RunCrashed.default_code
    return CalendarReport(calendar.id, calendar.name, problem=problem, crashed=True)


def _crashes(report: SyncReport) -> dict[str, object]:
    """Return what the account says when pulls of it crashed: it is not well."""
    crashed = [calendar.name for calendar in report.calendars if calendar.crashed]
    if not crashed and not report.push_crashed:
        return {}
    what = f"reading {len(crashed)} of this account's calendars" if crashed else "the pushes"
    report.problem = RunCrashed.default_code
    report.detail = (
        f"The gateway could not finish {what}; its log says where. What is known of the account "
        "stands, and it is tried again."
    )
    return {"problem": report.problem, "problem_detail": report.detail}


def _observe(run: Run, report: SyncReport) -> None:
    counts = metrics()
    counts.sync_runs.labels(report.problem or "ok").inc()
    counts.sync_requests.observe(report.requests)
    for calendar in report.calendars:
        for what in ("changed", "removed", "repaired", "unclear"):
            counts.sync_objects.labels(what).inc(getattr(calendar, what))
    if run.connection.synced_at is not None:
        counts.sync_age.observe(max(0.0, run.context.clock() - run.connection.synced_at))
    if report.problem is not None:
        _log.warning("sync failed", connection=report.connection_id, code=report.problem)
