"""Upstream to store, one calendar: what changed, fetch it, write it, the token last.

A write unit holds one batch; the new sync token goes in with the last, so a crash anywhere
repeats work and never loses it. Nothing is deleted without proof (R11): a 404 row of a
sync-collection answer, or a 404 for that very href.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from zoneinfo import ZoneInfo

from gateway.core.errors import UpstreamError, UpstreamUnreachable
from gateway.core.ical.objects import peek_uid
from gateway.core.recurrence.expand import BusyRules
from gateway.expansion.prepare import MirrorRules, RawObject
from gateway.isolation import EVERYBODYS
from gateway.observe import logger
from gateway.services.accounts.mirrors import (
    FIRST_STATES,
    Pulled,
    Superseded,
    Terms,
    end_pull,
    note_reached,
    note_start,
    write_batch,
)
from gateway.services.accounts.polls import IN_USE
from gateway.store.accounts import members
from gateway.store.accounts.accounts import Connection
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.accounts.members import Unread
from gateway.store.objects.horizons import window_of
from gateway.store.objects.objects import name_key
from gateway.store.outbox.pushed import Pushed, pushed_uids
from gateway.sync.context import SyncContext
from gateway.sync.pull.fetch import Batch, fetch_all
from gateway.sync.pull.near_future import NEAR_FROM, Near, find_near
from gateway.sync.pull.plan import (
    Held,
    Plan,
    catch_up,
    load_held,
    make_plan,
    meet,
    merged,
    names_to_fetch,
)
from gateway.sync.push.incoming import LISTED_UNREADABLE, take_deletion, take_version
from gateway.sync.report import CalendarReport, Progress
from gateway.upstream.client import UpstreamClient
from gateway.upstream.icloud import MULTIGET_BATCH

MIRRORED_ROLES = ("linked", "conflict")
CATCHING = members.CATCHING
LOG_EVERY = 1000
"""Objects of a first sync between two lines in the log."""

_log = logger("sync")


@dataclass
class Run:
    """One run over one account, with what all its calendars share."""

    context: SyncContext
    connection: Connection
    client: UpstreamClient
    zone: ZoneInfo
    on_progress: Callable[[Progress], None] | None = None
    catch_up: bool = False
    """Ask again for all members that are catching up, due or not: somebody waits for them."""

    def terms(self, calendar: UpstreamCalendar, held: Held) -> Terms:
        """Return what a calendar is read by in this run."""
        mirror_id = held.mirror.id if held.mirror else None
        return Terms(self.connection.principal_id, calendar, mirror_id, self.zone.key)

    @property
    def addresses(self) -> frozenset[str]:
        """By which addresses iCloud knows the owner, lower case."""
        return frozenset(self.connection.addresses)


def needs_pull(calendar: UpstreamCalendar) -> bool:
    """Whether a calendar in use moved since its last complete pull, or never had one."""
    if calendar.role not in IN_USE or calendar.state == "gone":
        return False
    if calendar.missing_since is not None or calendar.kind != "calendar":
        return False
    if calendar.state != "ok" or calendar.problem is not None:
        return True
    if calendar.listed_ctag is not None:
        return calendar.listed_ctag != calendar.ctag
    return calendar.listed_token is None or calendar.listed_token != calendar.sync_token


def is_due_again(run: Run, calendar: UpstreamCalendar) -> bool:
    """Whether members of a calendar in use that could not be read are to be asked for again."""
    in_use = calendar.role in IN_USE and calendar.kind == "calendar"
    if not in_use or calendar.state != "ok" or calendar.missing_since is not None:
        return False
    due = calendar.retry_at is not None and calendar.retry_at <= run.context.clock()
    return due or (run.catch_up and calendar.catching_up > 0)


async def pull_calendar(
    run: Run, calendar: UpstreamCalendar, *, reconcile: bool = False
) -> CalendarReport:
    """Bring the mirror of one calendar in step; with ``reconcile`` compare all ETags (R12).

    Raises the client's errors; what was written until then stays and counts.
    """
    report = CalendarReport(calendar.id, calendar.name)
    held = await run.context.store.read(load_held, run.connection.principal_id, calendar)
    if held.mirror is None and calendar.role in MIRRORED_ROLES:
        raise Superseded("This calendar has no mirror yet.")
    plan = await _plan(run, calendar, held, reconcile=reconcile)
    held, plan = await run.context.store.read(meet, calendar, held, plan)
    wanted = names_to_fetch(plan, held, calendar)
    near = await _near(run, calendar, wanted)
    await run.context.store.write_repeatable(
        note_start, run.connection.principal_id, calendar, len(wanted)
    )
    pulled = Pulled()
    if calendar.role == "tracked":  # of which nothing but our own is wanted any more
        pulled.read |= held.unread.keys() - held.own.keys()
    done = 0
    if near.is_reached(done):
        await _tell_reached(run, calendar, near)
    async for batch in fetch_all(run.client, calendar.path, near.first(wanted)):
        batch.distrust(plan, held)
        _count(pulled, batch)
        report.own += await _take_own(run, calendar, held, batch, pulled)
        await _mirror_batch(run, calendar, held, batch, pulled, report)
        done += batch.size
        if near.is_reached(done) and pulled.complete and not pulled.unread:
            await _tell_reached(run, calendar, near)
        _tell(run, calendar, done, len(wanted))
    await _finish(run, calendar, held, plan, pulled, report)
    if calendar.state in FIRST_STATES:
        _log.info("first sync ended", calendar=calendar.id, done=done, complete=pulled.complete)
    if reconcile and not needs_pull(calendar):
        report.repaired = report.changed + report.removed
    return report


def _count(pulled: Pulled, batch: Batch) -> None:
    """Count a batch that was dealt with."""
    pulled.unread |= batch.unread
    pulled.read |= {raw.name for raw in batch.found} | set(batch.gone)
    pulled.complete = pulled.complete and batch.is_complete


async def _plan(run: Run, calendar: UpstreamCalendar, held: Held, *, reconcile: bool) -> Plan:
    """Return what changed, and what is asked for again; one that did not move is not asked."""
    again = catch_up(held, now=run.context.clock(), everything=run.catch_up)
    if not reconcile and not needs_pull(calendar):
        return replace(again, token=calendar.sync_token)
    return merged(await make_plan(run.client, calendar, held, reconcile=reconcile), again)


async def _near(run: Run, calendar: UpstreamCalendar, wanted: Sequence[str]) -> Near:
    """For a long first sync, ask what lies in the next months: that is read first."""
    if calendar.sync_token is not None or len(wanted) <= NEAR_FROM:
        return Near()
    return await find_near(run.client, calendar.path, run.context.now(), wanted)


async def _tell_reached(run: Run, calendar: UpstreamCalendar, near: Near) -> None:
    if near.span is not None:
        await run.context.store.write_repeatable(
            note_reached, run.connection.principal_id, calendar.id, near.span
        )


def _tell(run: Run, calendar: UpstreamCalendar, done: int, total: int) -> None:
    if run.on_progress is not None:
        run.on_progress(Progress(calendar.id, calendar.name, done, total))
    if calendar.state in FIRST_STATES and done % LOG_EVERY < MULTIGET_BATCH <= done < total:
        _log.info("first sync under way", calendar=calendar.id, done=done, total=total)


# --- writing ---


async def _take_own(
    run: Run, calendar: UpstreamCalendar, held: Held, batch: Batch, pulled: Pulled
) -> int:
    """Hand our own pushed objects to :mod:`gateway.sync.push.incoming`; they are never mirrored."""
    taken = 0
    foreign: list[RawObject] = []
    own = await _find_own(run, held, batch)
    for raw in batch.found:
        row = own.get(raw.name)
        if row is None:
            foreign.append(raw)
        elif not held.is_current(raw.name, raw.etag):
            take = partial(take_version, run.context, run.connection, calendar, row.id, raw)
            taken += await _alone(run, calendar, raw.name, take, pulled)
    batch.found = foreign
    for name in [name for name in batch.gone if name in held.own]:
        follow = partial(_take_deletion, run, held, name, pulled)
        taken += await _alone(run, calendar, name, follow, pulled)
    return taken


async def _find_own(run: Run, held: Held, batch: Batch) -> dict[str, Pushed]:
    """Return the ledger rows of fetched objects by name; what was moved is known by its UID."""
    others = [raw for raw in batch.found if raw.name not in held.own] if held.pushes else []
    uids = {raw.name: uid for raw in others if (uid := peek_uid(raw.body))}
    found = {raw.name: held.own[raw.name] for raw in batch.found if raw.name in held.own}
    if uids:
        by_uid = await run.context.store.read(
            pushed_uids, run.connection.principal_id, set(uids.values())
        )
        rows = ((name, by_uid.get(uid)) for name, uid in uids.items())
        found.update((name, row) for name, row in rows if row and row.stands_for_its_object)
    return found


async def _take_deletion(run: Run, held: Held, name: str, pulled: Pulled) -> None:
    """Follow or cancel; where a listing and a read contradict each other, ask again later."""
    try:
        await take_deletion(run.context, run.connection, run.client, held.own[name].id)
    except UpstreamUnreachable as error:
        if error.code != LISTED_UNREADABLE:
            raise
        pulled.unread[name] = Unread(None, False, "not-found")


async def _alone(
    run: Run,
    calendar: UpstreamCalendar,
    name: str,
    work: Callable[[], Awaitable[object]],
    pulled: Pulled,
) -> bool:
    """Do what one member needs; an error nobody foresaw leaves it unread and stops no other.

    Raises what is not the member's own: the database's trouble, the upstream's, changed roles.
    """
    try:
        await work()
    except (*EVERYBODYS, UpstreamError, Superseded):
        raise
    except Exception as error:
        pulled.unread[name] = Unread(None, True, members.NOT_STORABLE)
        run.context.members.failed(f"{calendar.id}/{name_key(name)}", error)
        return False
    return True


async def _mirror_batch(
    run: Run,
    calendar: UpstreamCalendar,
    held: Held,
    batch: Batch,
    pulled: Pulled,
    report: CalendarReport,
) -> None:
    if held.mirror is None:
        return
    rules = MirrorRules(
        busy=BusyRules(
            zone=run.zone,
            owner_addresses=run.addresses,
            all_day=calendar.all_day,
        ),
        window=await run.context.store.read(
            window_of, run.connection.principal_id, now=run.context.now()
        ),
        detail=calendar.detail,
    )
    ready = await run.context.expander.prepare(batch.found, rules)
    gone = [held.etags[name][0] for name in batch.gone if name in held.etags]
    if not ready and not gone:
        return
    terms = run.terms(calendar, held)
    write = partial(write_batch, keyring=run.context.keyring, terms=terms)
    store, now = run.context.store, run.context.now()
    try:
        report.removed += await store.write_repeatable(write, ready=ready, gone=gone, now=now)
    except (*EVERYBODYS, Superseded):
        raise
    except Exception:  # one of them cannot be stored: each is written alone
        report.removed += await store.write_repeatable(write, ready=[], gone=gone, now=now)
        together, ready = ready, []
        for item in together:
            one = partial(store.write, write, ready=[item], gone=[], now=now)
            if await _alone(run, calendar, item.upstream_name, one, pulled):
                ready.append(item)
    report.changed += len(ready)
    report.unclear += sum(item.raw is not None for item in ready)


async def _finish(
    run: Run,
    calendar: UpstreamCalendar,
    held: Held,
    plan: Plan,
    pulled: Pulled,
    report: CalendarReport,
) -> None:
    """Delete what is proved gone and, when nothing is left to ask for, store the token (R11)."""
    for name in sorted(plan.removed & held.own.keys()):
        follow = partial(_take_deletion, run, held, name, pulled)
        report.own += await _alone(run, calendar, name, follow, pulled)
    gone = [held.etags[name][0] for name in plan.removed if name in held.etags]
    pulled.read |= plan.removed
    removed, after = await run.context.store.write_repeatable(
        end_pull,
        run.terms(calendar, held),
        gone,
        pulled,
        held_unread=held.unread.keys(),
        token=plan.token,
        now=run.context.now(),
    )
    report.removed += removed
    report.catching_up, report.set_aside = after.catching_up, after.set_aside
    report.problem = after.problem or (CATCHING if after.catching_up else None)
    report.detail = after.problem_detail
