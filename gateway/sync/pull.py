"""Upstream to store, one calendar: what changed, fetch it, write it, the token last.

A write unit holds one batch; the new sync token goes in with the last, so a crash anywhere
repeats work and never loses it. Nothing is deleted without proof (R11): a 404 row of a
sync-collection answer, or a 404 for that very href.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.core.errors import GatewayError, SyncTokenExpired
from gateway.core.instances import BusyRules, default_window
from gateway.store import accounts, calendars, collections, objects, outbox
from gateway.store.accounts import Connection, Keyring
from gateway.store.calendars import UpstreamCalendar
from gateway.store.collections import Collection
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import PreparedObject
from gateway.store.outbox import LedgerRow
from gateway.sync.context import SyncContext
from gateway.sync.own import find_own, take_deletion, take_version
from gateway.sync.prepare import MirrorRules, RawObject, Ready
from gateway.sync.report import CalendarReport, Progress
from gateway.upstream.client import UpstreamClient
from gateway.upstream.quirks import MULTIGET_BATCH
from gateway.upstream.reports import Fetched, listed_members, sync_changes

MIRRORED_ROLES = ("linked", "conflict")
PULLED_ROLES = ("linked", "conflict", "tracked")
INCOMPLETE = "incomplete-answer"
_SINGLE_GETS = 10
_MAX_PAGES = 1000


class Superseded(GatewayError):
    """The calendar's role changed while it was pulled; the next run sees to it."""

    default_code = "superseded"


@dataclass
class Run:
    """One run over one account, with what all its calendars share."""

    context: SyncContext
    connection: Connection
    client: UpstreamClient
    zone: ZoneInfo
    on_progress: Callable[[Progress], None] | None = None

    @property
    def addresses(self) -> frozenset[str]:
        """By which addresses iCloud knows the owner, lower case."""
        return frozenset(self.connection.addresses)


@dataclass(frozen=True, slots=True)
class _Held:
    """What is here of one calendar: {upstream name: (name, etag)} and our own pushes."""

    mirror: Collection | None
    etags: dict[str, tuple[str, str | None]]
    own: dict[str, LedgerRow]
    own_uids: dict[str, LedgerRow]

    def is_current(self, name: str, etag: str | None) -> bool:
        """Whether this very version is here already."""
        if etag is None:
            return False
        if name in self.own:
            return self.own[name].upstream_etag == etag
        return name in self.etags and self.etags[name][1] == etag


@dataclass(frozen=True, slots=True)
class _Plan:
    """What upstream says: versions there, names proved gone, names that may be gone."""

    versions: dict[str, str | None]
    removed: frozenset[str] = frozenset()
    suspects: frozenset[str] = frozenset()
    token: str | None = None


@dataclass(slots=True)
class _Batch:
    """Members as fetched: with bodies, proved gone, not answered for, not readable yet."""

    found: list[RawObject] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def distrust(self, plan: "_Plan", held: "_Held") -> None:
        """Sort out what contradicts the listing: reads were seen to lag behind it.

        A member listed a moment ago that is 404 now, or comes in another version, was not read
        as listed: the old token stays and the next run asks again. The version we hold already
        is not written once more.
        """
        for name in [name for name in self.gone if name in plan.versions]:
            self.gone.remove(name)
            self.unread.append(name)
        for raw in list(self.found):
            listed = plan.versions.get(raw.name)
            if listed is not None and raw.etag is not None and raw.etag != listed:
                self.unread.append(raw.name)
                if held.is_current(raw.name, raw.etag):
                    self.found.remove(raw)


def needs_pull(calendar: UpstreamCalendar) -> bool:
    """Whether a calendar in use moved since its last complete pull, or never had one."""
    if calendar.role not in PULLED_ROLES or calendar.state == "gone":
        return False
    if calendar.missing_since is not None or calendar.kind != "calendar":
        return False
    if calendar.state != "ok" or calendar.problem is not None:
        return True
    if calendar.listed_ctag is not None:
        return calendar.listed_ctag != calendar.ctag
    return calendar.listed_token is None or calendar.listed_token != calendar.sync_token


async def pull_calendar(
    run: Run, calendar: UpstreamCalendar, *, reconcile: bool = False
) -> CalendarReport:
    """Bring the mirror of one calendar in step; with ``reconcile`` compare all ETags (R12).

    Raises the client's errors; what was written until then stays and counts.
    """
    report = CalendarReport(calendar.id, calendar.name)
    held = await run.context.store.read(_load_held, run.connection.principal_id, calendar)
    if held.mirror is None and calendar.role in MIRRORED_ROLES:
        raise Superseded("This calendar has no mirror yet.")
    plan = await _plan(run.client, calendar, held, reconcile=reconcile)
    wanted = _wanted(plan, held, calendar)
    await run.context.store.write(_note_start, run.connection.principal_id, calendar, len(wanted))
    complete = True
    done = 0
    async for batch in _fetch_all(run.client, calendar.path, wanted):
        read = len(batch.found) + len(batch.gone) + len(batch.silent)
        batch.distrust(plan, held)
        report.own += await _take_own(run, calendar, held, batch)
        await _mirror_batch(run, calendar, held, batch, report)
        complete = complete and not batch.silent and not batch.unread
        done += read
        _tell(run, calendar, done, len(wanted))
    await _finish(run, calendar, held, plan, report, complete=complete)
    report.repaired = report.changed + report.removed if reconcile else 0
    return report


def _load_held(session: Session, principal_id: str, calendar: UpstreamCalendar) -> _Held:
    mirror = collections.find_mirror(session, calendar.id)
    return _Held(
        mirror=mirror,
        etags=objects.upstream_etags(session, mirror.id) if mirror else {},
        own={
            name: row
            for name, row in outbox.ledger_of_calendar(session, calendar.id).items()
            if row.state != "deleted"
        },
        own_uids=outbox.ledger_uids(session, principal_id),
    )


# --- what changed ---


async def _plan(
    client: UpstreamClient, calendar: UpstreamCalendar, held: _Held, *, reconcile: bool
) -> _Plan:
    if reconcile and calendar.sync_token:
        return await _listing_plan(client, calendar, held, token=calendar.sync_token)
    if calendar.sync_token:
        try:
            return await _sync_plan(client, calendar.path, calendar.sync_token)
        except SyncTokenExpired:
            pass
    try:
        plan = await _sync_plan(client, calendar.path, None)
    except SyncTokenExpired:
        return await _listing_plan(client, calendar, held, token=calendar.listed_token)
    suspects = _present(held) - plan.versions.keys() - plan.removed
    return _Plan(plan.versions, plan.removed, suspects, plan.token)


async def _sync_plan(client: UpstreamClient, path: str, token: str | None) -> _Plan:
    """Ask for changes page by page (RFC 6578 3.6); later pages overrule earlier ones."""
    versions: dict[str, str | None] = {}
    removed: set[str] = set()
    for _ in range(_MAX_PAGES):
        page = sync_changes(await client.sync_collection(path, token), path)
        for name in page.removed:
            versions.pop(name, None)
        removed = (removed | page.removed) - page.changed.keys()
        versions.update(page.changed)
        if not page.truncated or page.token in (None, token):
            return _Plan(versions, frozenset(removed), token=page.token)
        token = page.token
    return _Plan(versions, frozenset(removed), token=token)


async def _listing_plan(
    client: UpstreamClient, calendar: UpstreamCalendar, held: _Held, *, token: str | None
) -> _Plan:
    """List all members with ETags; what is missing there is only a suspect."""
    answer = await client.propfind(calendar.path, ("D:getetag",), depth=1)
    versions = listed_members(answer, calendar.path)
    suspects = _present(held) - versions.keys()
    return _Plan(versions, suspects=frozenset(suspects), token=token)


def _present(held: _Held) -> frozenset[str]:
    """Names that should be upstream by what we know: mirrored ones and our own living ones."""
    own = {name for name, row in held.own.items() if row.upstream_etag}
    return frozenset(held.etags.keys() | own)


def _wanted(plan: _Plan, held: _Held, calendar: UpstreamCalendar) -> list[str]:
    """Names to fetch; of a tracked calendar only our own."""
    names = [name for name, etag in plan.versions.items() if not held.is_current(name, etag)]
    names += sorted(plan.suspects)
    if calendar.role == "tracked":
        names = [name for name in names if name in held.own]
    return names


# --- fetching ---


async def _fetch_all(
    client: UpstreamClient, path: str, names: Sequence[str]
) -> AsyncIterator[_Batch]:
    """Fetch in batches; the next one travels while the one before is prepared and written."""
    parts = [names[i : i + MULTIGET_BATCH] for i in range(0, len(names), MULTIGET_BATCH)]
    ahead: asyncio.Task[_Batch] | None = None
    try:
        for index in range(len(parts)):
            current = ahead or asyncio.ensure_future(fetch_members(client, path, parts[index]))
            batch = await current
            is_last = index + 1 == len(parts)
            ahead = (
                None
                if is_last
                else asyncio.ensure_future(fetch_members(client, path, parts[index + 1]))
            )
            yield batch
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


async def fetch_members(client: UpstreamClient, path: str, names: Sequence[str]) -> _Batch:
    """Fetch members of a collection; multiget may leave some out, those are asked for again."""
    answered: dict[str, Fetched] = {}
    silent = list(names)
    while silent:
        got = await client.multiget(path, silent)
        answered.update((name, got[name]) for name in silent if name in got)
        left = [name for name in silent if name not in got]
        stuck = len(left) == len(silent)
        silent = left
        if stuck:
            break
    for name in silent[:_SINGLE_GETS]:
        answered[name] = await client.get(path + name)
    batch = _Batch()
    for name in names:
        fetched = answered.get(name)
        if fetched is not None and fetched.body is not None:
            batch.found.append(RawObject(name, fetched.etag, fetched.body))
        elif fetched is not None and fetched.status in (404, 410):
            batch.gone.append(name)
        else:
            batch.silent.append(name)
    return batch


def _tell(run: Run, calendar: UpstreamCalendar, done: int, total: int) -> None:
    if run.on_progress is not None:
        run.on_progress(Progress(calendar.id, calendar.name, done, total))


# --- writing ---


async def _take_own(run: Run, calendar: UpstreamCalendar, held: _Held, batch: _Batch) -> int:
    """Hand our own pushed objects to :mod:`gateway.sync.own`; they are never mirrored."""
    taken = 0
    foreign: list[RawObject] = []
    for raw in batch.found:
        row = find_own(raw, held.own, held.own_uids)
        if row is None:
            foreign.append(raw)
        else:
            await take_version(run.context, run.connection, calendar, row, raw, zone=run.zone)
            taken += 1
    batch.found = foreign
    for name in [name for name in batch.gone if name in held.own]:
        await take_deletion(run.context, run.connection, run.client, held.own[name], zone=run.zone)
        taken += 1
    return taken


async def _mirror_batch(
    run: Run,
    calendar: UpstreamCalendar,
    held: _Held,
    batch: _Batch,
    report: CalendarReport,
) -> None:
    if held.mirror is None:
        return
    rules = MirrorRules(
        busy=BusyRules(
            zone=run.zone,
            owner_addresses=run.addresses,
            all_day_blocks=calendar.all_day_blocks,
        ),
        window=default_window(run.context.now()),
        detail=calendar.detail,
    )
    ready = await run.context.expander.prepare(batch.found, rules)
    gone = [held.etags[name][0] for name in batch.gone if name in held.etags]
    if not ready and not gone:
        return
    removed = await run.context.store.write(
        _write_batch,
        run.context.keyring,
        run.connection.principal_id,
        calendar.id,
        held.mirror.id,
        ready,
        gone,
        now=run.context.now(),
    )
    report.changed += len(ready)
    report.removed += removed


def _write_batch(
    session: Session,
    keyring: Keyring,
    principal_id: str,
    calendar_id: str,
    mirror_id: str,
    ready: Sequence[Ready],
    gone: Sequence[str],
    *,
    now: int,
) -> int:
    mirror = _lock_mirror(session, principal_id, calendar_id, mirror_id)
    objects.save_objects(session, mirror, [_prepared(item) for item in ready], now=now)
    accounts.erase_secrets(session, [f"{mirror_id}/{item.name}" for item in ready])
    for item in ready:
        if item.raw is not None:
            owner_id = f"{mirror_id}/{item.name}"
            accounts.store_secret(session, keyring, owner_id, "raw", item.raw)
    calendars.add_progress(session, calendar_id, len(ready))
    return _remove(session, mirror, gone, now=now)


def _lock_mirror(
    session: Session, principal_id: str, calendar_id: str, mirror_id: str
) -> Collection:
    """Lock principal and mirror; raises :class:`Superseded` when the role changed meanwhile."""
    lock_principal(session, principal_id)
    current = collections.find_mirror(session, calendar_id)
    if current is None or current.id != mirror_id:
        raise Superseded("This calendar is not mirrored any more.")
    return collections.lock_collection(session, mirror_id)


def _remove(session: Session, mirror: Collection, names: Iterable[str], *, now: int) -> int:
    names = list(names)
    accounts.erase_secrets(session, [f"{mirror.id}/{name}" for name in names])
    return objects.delete_objects(session, mirror, names, now=now)


def _prepared(item: Ready) -> PreparedObject:
    return PreparedObject(
        name=item.name,
        uid=item.uid,
        kind="mirrored",
        component=item.component,
        etag=item.etag,
        body=item.body,
        expansion=item.expansion,
        served=item.served,
        upstream_name=item.upstream_name,
        upstream_etag=item.upstream_etag,
    )


def _note_start(
    session: Session, principal_id: str, calendar: UpstreamCalendar, wanted: int
) -> None:
    """Show a first sync as such, with how much there is to read."""
    if calendar.state in ("never", "syncing"):
        lock_principal(session, principal_id)
        calendars.update_calendar(
            session, calendar.id, state="syncing", progress_done=0, progress_total=wanted
        )
        if calendar.state == "never":
            objects.bump_generation(session, principal_id)


async def _finish(
    run: Run,
    calendar: UpstreamCalendar,
    held: _Held,
    plan: _Plan,
    report: CalendarReport,
    *,
    complete: bool,
) -> None:
    """Delete what is proved gone and, when nothing is missing, store the token (R11)."""
    for name in sorted(plan.removed & held.own.keys()):
        await take_deletion(run.context, run.connection, run.client, held.own[name], zone=run.zone)
        report.own += 1
    gone = [held.etags[name][0] for name in plan.removed if name in held.etags]
    report.problem = None if complete else INCOMPLETE
    report.removed += await run.context.store.write(
        _write_end,
        run.connection.principal_id,
        calendar,
        held.mirror.id if held.mirror else None,
        gone,
        token=plan.token,
        complete=complete,
        now=run.context.now(),
    )


def _write_end(
    session: Session,
    principal_id: str,
    calendar: UpstreamCalendar,
    mirror_id: str | None,
    gone: Sequence[str],
    *,
    token: str | None,
    complete: bool,
    now: int,
) -> int:
    removed = 0
    lock_principal(session, principal_id)
    if mirror_id is not None:
        mirror = _lock_mirror(session, principal_id, calendar.id, mirror_id)
        removed = _remove(session, mirror, gone, now=now)
    if complete:
        changes = {
            "state": "ok",
            "problem": None,
            "problem_detail": None,
            "ctag": calendar.listed_ctag,
            "sync_token": token or calendar.listed_token,
            "synced_at": now,
        }
    else:
        changes = {
            "problem": INCOMPLETE,
            "problem_detail": "iCloud listed objects it did not hand out; asking again.",
        }
    if complete and (calendar.state != "ok" or calendar.problem is not None):
        objects.bump_generation(session, principal_id)
    calendars.update_calendar(session, calendar.id, **changes)
    return removed


def note_failure(
    session: Session, principal_id: str, calendar: UpstreamCalendar, error: GatewayError
) -> None:
    """Say why a calendar could not be read; what is known of it stands (R11)."""
    state = "failed" if calendar.synced_at is not None else calendar.state
    calendars.update_calendar(
        session, calendar.id, state=state, problem=error.code, problem_detail=error.detail
    )
    if (state, error.code) != (calendar.state, calendar.problem):
        objects.bump_generation(session, principal_id)
