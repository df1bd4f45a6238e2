"""The rows of the sync engine: polls, refusals, edits and windows that move."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import sqlalchemy

from benchmarks.scale import Case
from benchmarks.simulation import connect_many
from gateway.cli.commands.setup import initialise
from gateway.core.errors import CredentialRejected
from gateway.core.recurrence.expand import Expansion, default_window
from gateway.settings import Settings
from gateway.store.accounts import accounts, calendars, leases
from gateway.store.accounts.accounts import Connection, Keyring
from gateway.store.accounts.runs import IdleEnd, OpenedAccount
from gateway.store.engine import Database, Session
from gateway.store.objects import collections, expansions, objects
from gateway.store.outbox import outbox
from gateway.store.threads import StoreThreads
from gateway.sync import outcome
from gateway.sync.context import SyncContext
from gateway.sync.lease import claimed
from gateway.sync.pull.plan import Plan, load_held, meet
from gateway.sync.scheduler import Worker

LATENCY_S = 0.4
MOST_POLLS, MOST_REFUSALS, EDITS = 1_000, 300, 20
_AT_ONCE = 500
_DAY = 86_400


class _Waiting(Worker):
    """A worker whose polls wait as long as iCloud takes and find nothing new."""

    polls = 0

    async def _sync(self, connection_id: str, opened: OpenedAccount | None) -> None:
        assert opened is not None, connection_id
        connection = opened.connection
        async with claimed(self.context, connection.id) as lease:
            await asyncio.sleep(LATENCY_S)
            due = self.context.clock() + outcome.poll_delay(self.context, connection)
            end = IdleEnd(connection, due)
            lease.released = await self.context.idle_runs.note(end, now=self.context.now())
            self.polls += 1


class _Clock:
    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


@asynccontextmanager
async def _accounts(count: int) -> AsyncIterator[tuple[SyncContext, _Clock]]:
    """Make an installation with so many accounts, all of them due, and a log that keeps growing."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(data_dir=Path(folder))
        initialise(settings)
        database, clock = Database(settings.database), _Clock()

        @sqlalchemy.event.listens_for(database.engine, "connect")
        def _on_connect(connection: object, _record: object) -> None:
            connection.execute("PRAGMA wal_autocheckpoint=0")  # type: ignore[attr-defined]

        threads = StoreThreads(database)
        context = SyncContext(
            settings, threads, Keyring.load(settings.keyring), clock=clock, random=Random(9)
        )
        await threads.write(
            connect_many, context.keyring, hot=0, idle=count, now=int(clock.time) - 1_000
        )
        try:
            yield context, clock
        finally:
            await context.close()
            threads.close()


async def _polls(count: int) -> tuple[float, float]:
    """Return seconds and bytes of one poll while all accounts are due."""
    async with _accounts(count) as (context, _):
        log = Path(f"{context.store.database.url.database}-wal")
        worker, stop = _Waiting(context), asyncio.Event()
        before, began = log.stat().st_size, time.perf_counter()
        running = asyncio.create_task(worker.run(stop))
        while worker.polls < min(count, MOST_POLLS):
            await asyncio.sleep(0.01)
        took, polls = time.perf_counter() - began, worker.polls
        written = log.stat().st_size - before
        stop.set()
        await running
        return took / polls, written / polls


async def _refusal(count: int) -> float:
    """Return the seconds of one 401 in a wave over all accounts."""
    async with _accounts(count) as (context, clock):
        found = await context.store.read(accounts.list_connections)
        refused = found[:MOST_REFUSALS]
        await context.store.write(_claim_all, context, clock.time)
        began = time.perf_counter()
        for connection in refused:
            await outcome.note_failure(context, connection, CredentialRejected("refused"))
        return (time.perf_counter() - began) / len(refused)


def _claim_all(session: Session, context: SyncContext, now: float) -> None:
    session.exec_driver_sql(f"UPDATE connections SET polled_at = {int(now)}")
    leases.claim_due(session, owner=context.owner, now=now, lease_s=600, limit=100_000)


async def _edit(count: int) -> float:
    """Return the seconds of reading what is here for one edit, among so many events."""
    async with _accounts(1) as (context, clock):
        connection = (await context.store.read(accounts.list_connections))[0]
        calendar_id = await context.store.write(
            _fill_calendar, connection, count, now=int(clock.time) - 1_000
        )
        calendar = await context.store.read(calendars.get_calendar, calendar_id)
        plan = Plan({"e7.ics": '"new"'}, token="t")
        began = time.perf_counter()
        for _ in range(EDITS):
            held = await context.store.read(load_held, connection.principal_id, calendar)
            await context.store.read(meet, calendar, held, plan)
        return (time.perf_counter() - began) / EDITS


def _fill_calendar(session: Session, connection: Connection, count: int, *, now: int) -> str:
    calendar_id = calendars.create_calendar(
        session,
        connection_id=connection.id,
        path="/1/calendars/home/",
        values={"name": "Home", "kind": "calendar", "writable": True},
    )
    values = {"role": "linked", "sync_token": "t", "synced_at": now + 500}
    calendars.update_calendar(session, calendar_id, **{**values, "state": "ok"})
    mirror_id = collections.create_collection(
        session,
        principal_id=connection.principal_id,
        name="mirror-home",
        kind="mirror",
        display_name="Home",
        upstream_calendar_id=calendar_id,
        now=now,
    )
    empty = Expansion((), (), default_window(now), recurring=False)
    for first in range(0, count, _AT_ONCE):
        mirror = collections.get_collection(session, mirror_id)
        batch = [
            objects.PreparedObject(
                name=f"e{number}.ics",
                uid=f"e{number}",
                kind="mirrored",
                component="VEVENT",
                etag=f'"{number}"',
                body=b"x" * 1_000,
                expansion=empty,
                upstream_name=f"e{number}.ics",
                upstream_etag='"old"',
            )
            for number in range(first, min(count, first + _AT_ONCE))
        ]
        objects.save_objects(session, mirror, batch, now=now)
    for number in range(count // 10):
        outbox.create_ledger_row(
            session,
            principal_id=connection.principal_id,
            object_id=f"o_{number}",
            account_index=None,
            upstream_calendar_id=calendar_id,
            upstream_path="/1/calendars/home/",
            upstream_uid=f"own-{number}",
            now=now,
        )
    return calendar_id


async def _busiest_hour(count: int) -> float:
    """Return how many windows of a thousand people move in the busiest hour of a day."""
    async with _accounts(count) as (context, clock):
        midnight = clock.time // _DAY * _DAY + _DAY
        for found in await context.store.read(accounts.list_connections):
            await context.store.write(
                objects.set_coverage, found.principal_id, default_window(int(midnight) - 1)
            )
        moved = []
        for hour in range(25):
            clock.time = midnight + 3_600 * hour
            moved.append(await context.store.write_repeatable(_move_due, int(clock.time), count))
        return max(moved) / count * 1_000


def _move_due(session: Session, now: int, limit: int) -> int:
    """Move the windows whose turn it is, as a worker would; returns how many."""
    window = default_window(now)
    due = expansions.outdated_principals(
        session, until=window[1], by_now=now % _DAY / _DAY, limit=limit
    )
    for principal_id in due:
        objects.set_coverage(session, principal_id, window)
    return len(due)


_measured: dict[int, tuple[float, float]] = {}


def _of_polls(part: int) -> Callable[[int], float]:
    def measure(count: int) -> float:
        if count not in _measured:
            _measured[count] = asyncio.run(_polls(count))
        return _measured[count][part]

    return measure


CASES = (
    Case(f"a poll, all due, iCloud answers in {LATENCY_S} s", "poll", _of_polls(0)),
    Case("a poll that finds nothing, written", "poll", _of_polls(1), 4.0, "bytes"),
    Case("a 401 in a wave of them", "401", lambda count: asyncio.run(_refusal(count)), 2.0),
    Case("an edit, what is read here", "edit", lambda count: asyncio.run(_edit(count))),
    Case(
        "windows moved in the busiest hour",
        "1,000 people",
        lambda count: asyncio.run(_busiest_hour(count)),
        unit="of 1,000",
    ),
)
