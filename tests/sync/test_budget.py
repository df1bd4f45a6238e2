"""One account has one budget, however many processes share it; whoever reads goes first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.lookalike.server import Lookalike
from gateway.settings import Settings
from gateway.store.accounts import leases
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.sync.context import SyncContext
from gateway.sync.lease import leased
from gateway.sync.scheduler import Worker
from gateway.upstream.budget import REPORT_EVERY, WINDOW_S, RequestBudget
from tests.sync.conftest import Clock, Site, create_principal, event, make_context

LIMIT = 20
PROCESSES = 4


def most_in_a_minute(times: list[float]) -> int:
    """The most requests that lie within any sixty seconds."""
    return max(sum(start <= at < start + WINDOW_S for at in times) for start in times)


@asynccontextmanager
async def time_passing(clock: Clock, *, faster: float = 100) -> AsyncIterator[None]:
    """Let the virtual clock run while something waits."""

    async def run() -> None:
        while True:
            await asyncio.sleep(0.01)
            clock.advance(0.01 * faster)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()


@pytest.fixture
async def processes(
    server: Lookalike, settings: Settings, database: Database, keyring: Keyring, clock: Clock
) -> AsyncIterator[list[SyncContext]]:
    """The contexts of several processes on one database, with a small budget per account."""
    settings = settings.model_copy(update={"upstream_requests_per_minute": LIMIT, "lease_s": 30})
    makers = [make_context(settings, database, keyring, clock) for _ in range(PROCESSES)]
    yield [await anext(maker) for maker in makers]
    for maker in makers:
        await anext(maker, None)


@pytest.fixture
async def shared(
    server: Lookalike, database: Database, clock: Clock, processes: list[SyncContext]
) -> Site:
    account = server.world.add_account("shared@icloud.com")
    site = Site(
        server=server,
        account=account,
        password=account.issue_app_password(),
        context=processes[0],
        database=database,
        clock=clock,
        principal_id=create_principal(database),
    )
    await site.connect()
    site.roles()
    return site


async def test_many_processes_share_one_budget(
    shared: Site, processes: list[SyncContext], clock: Clock
) -> None:
    workers = [Worker(context) for context in processes]

    async def ask(worker: Worker, number: int) -> None:
        for turn in range(6):
            shared.account.put("home", event(f"e{number}-{turn}"))
            report = await worker.sync_now(shared.connection_id)
            assert report.problem is None

    async with time_passing(clock):
        await asyncio.gather(*(ask(worker, number) for number, worker in enumerate(workers)))
    times = [entry.time for entry in shared.log()]
    assert len(times) > 2 * LIMIT
    assert most_in_a_minute(times) <= LIMIT
    shared.assert_mirror_equals("home")


async def test_what_a_dead_process_asked_counts_for_the_next(
    shared: Site, processes: list[SyncContext], clock: Clock
) -> None:
    first, next_one = processes[:2]
    await Worker(first).sync_now(shared.connection_id)
    with shared.database.write() as session:
        assert leases.try_lease(
            session, shared.connection_id, owner="dead", now=clock.time, lease_s=30
        )
    clock.advance(31)
    async with leased(next_one, shared.connection_id):
        pass
    text = shared.read(_recent, shared.connection_id)
    budget = RequestBudget(next_one.settings, clock)
    budget.restore(text)
    asked = sum(entry.time > clock.time - WINDOW_S for entry in shared.log())
    assert asked > 0
    assert sum(budget._counts.values()) == asked + REPORT_EVERY


async def test_what_connecting_asked_counts_for_whoever_syncs_first(
    shared: Site, processes: list[SyncContext]
) -> None:
    asked = len(shared.log())
    async with leased(processes[1], shared.connection_id):
        assert asked == sum(processes[1].budget(shared.connection_id)._counts.values()) > 0


def _recent(session, connection_id: str) -> str | None:
    return session.exec_driver_sql(
        f"SELECT recent_requests FROM connections WHERE id = '{connection_id}'"
    ).scalar()


@pytest.mark.rule("R28")
@pytest.mark.parametrize("reader", [0, 1], ids=["same process", "another process"])
async def test_whoever_reads_goes_before_waiting_pushes(
    shared: Site, processes: list[SyncContext], clock: Clock, reader: int
) -> None:
    for context in processes:
        context.budget(shared.connection_id).limit = 100_000
    await Worker(processes[0]).sync_now(shared.connection_id)
    for number in range(20):
        shared.book(f"one-{number}")
    shared.fault("slow", by=0.1, method="PUT")
    pushing = Worker(processes[0])
    await pushing.tick()
    while not shared.log(method="PUT"):
        await asyncio.sleep(0.01)
    shared.account.put("work", event("taken"))
    report = await Worker(processes[reader]).sync_now(shared.connection_id)
    assert (report.problem, report.pushed) == (None, 0)
    assert "taken.ics" in shared.mirrored("work")
    assert len(shared.log(method="PUT")) < 10
    for _ in range(40):
        await pushing.tick()
        await pushing.idle()
        clock.advance(10)
    assert shared.messages() == []
    assert len({row.state for row in shared.ledger()}) == 1


async def test_pushes_leave_a_part_of_the_budget_to_readers(settings: Settings) -> None:
    clock = Clock()
    small = settings.model_copy(update={"upstream_requests_per_minute": 8})
    budget = RequestBudget(small, clock)
    for _ in range(6):
        await budget.take(spare=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await budget.take(spare=True)
    await budget.take()
    await budget.take()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await budget.take()
    clock.advance(WINDOW_S + 1)
    await budget.take(spare=True)
