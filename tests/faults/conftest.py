"""One person per test in front of a look-alike, on a virtual clock: see :mod:`person`."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.lookalike.server import Lookalike
from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext

pytest.register_assert_rewrite("tests.faults.person", "tests.faults.judge", "tests.faults.life")

from tests.faults.life import Scene  # noqa: E402
from tests.faults.person import Person, make_person  # noqa: E402
from tests.faults.process import Process  # noqa: E402
from tests.sync.conftest import Clock  # noqa: E402


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[Lookalike]:
    """A look-alike whose slow answers do not really take time."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.4))

    async with Lookalike(now=clock, sleep=sleep) as running:
        yield running


@pytest.fixture
def settings(server: Lookalike, tmp_path) -> Settings:
    return make_settings(server, tmp_path)


def make_settings(server: Lookalike, data_dir, **more) -> Settings:
    return Settings(
        upstream_url=server.url,
        upstream_allow_loopback=True,
        upstream_requests_per_minute=100_000,
        data_dir=data_dir,
        **more,
    )


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handful of events be several batches."""
    for module in (
        "gateway.upstream.icloud",
        "gateway.sync.pull.fetch",
        "gateway.sync.push.incoming",
    ):
        monkeypatch.setattr(f"{module}.MULTIGET_BATCH", 4)


@pytest.fixture
async def person(
    database: Database,
    server: Lookalike,
    settings: Settings,
    keyring: Keyring,
    clock: Clock,
    small_batches: None,
) -> AsyncIterator[Person]:
    """A person who is not connected yet, with a calendar full of events."""
    async for made in living(server, settings, database, keyring, clock):
        yield made


async def living(server, settings, database, keyring, clock) -> AsyncIterator[Person]:
    threads = StoreThreads(database)
    context = SyncContext(settings, threads, keyring, clock=clock)
    yield make_person(server, context, database, clock)
    await context.close()
    threads.close()


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, keyring: Keyring, tmp_path, small_batches: None
) -> Iterator[Scene]:
    """Look-alike, store and process; on SQLite unless the test names the other database."""
    kind = getattr(request, "param", "sqlite")
    database: Database = request.getfixturevalue(f"{kind}_database")
    loop = asyncio.new_event_loop()
    clock = Clock()
    server = Lookalike(now=clock)
    loop.run_until_complete(server.start())
    process = Process(make_settings(server, tmp_path), database, keyring, clock)
    yield Scene(loop, server, database, process, clock)
    loop.run_until_complete(process.close())
    loop.run_until_complete(server.stop())
    loop.close()
