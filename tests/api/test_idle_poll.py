"""A poll that found nothing new writes one row and leaves what is kept in memory as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import sqlalchemy

from gateway.api.process.timelines import KeptTimeline, TimelineCache
from gateway.services.availability import free_busy
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Keyring, find_connection
from gateway.store.engine import Database
from gateway.store.objects import objects
from gateway.store.signals import ChangeSignals, open_signals
from gateway.store.threads import StoreThreads
from gateway.sync.scheduler import Worker
from tests.api.conftest import AiohttpClient
from tests.api.icloud import Live, running
from tests.api.shaped import etag, shaped

DAY = 86_400
MOST_BYTES = 16_500
"""What one poll may write to the log: four pages of SQLite. It was eleven for three calendars."""


@dataclass
class Quiet:
    """An account in use of which nothing is ever new, and a reader that keeps its timeline."""

    live: Live
    worker: Worker
    reader: ChangeSignals
    cache: TimelineCache

    @property
    def database(self) -> Database:
        return self.live.place.database

    @property
    def principal_id(self) -> str:
        return self.live.place.ann.id

    async def poll(self, after: float = 600) -> int:
        """Let time pass and the account be polled; returns when that was."""
        clock = self.live.place.clock
        clock.now += int(after)
        assert await self.worker.tick() == 1
        await self.worker.idle()
        return int(clock())

    async def verified(self, at: int) -> None:
        """Wait until the reader has heard of the poll."""
        async with asyncio.timeout(10):
            while self._known() != at:
                await asyncio.sleep(0.005)

    def _known(self) -> int | None:
        self.reader.refresh()
        return self.reader.verified_at(self.principal_id)

    async def timeline(self) -> KeptTimeline:
        now = int(self.live.place.clock())
        async with asyncio.timeout(10):
            while True:
                self.reader.refresh()
                found = await self.cache.find(self.principal_id, (now, now + DAY), now=now)
                if found is not None:
                    return found
                await asyncio.sleep(0.005)

    def generation(self) -> int:
        with self.database.read() as session:
            return objects.get_extent(session, self.principal_id)[0]

    def check(self, rendered: KeptTimeline) -> dict:
        """Hold the kept answer against the one that is computed anew; returns it."""
        now = int(self.live.place.clock())
        window = (now, now + DAY)
        with self.database.read() as session:
            slow = free_busy(session, self.live.place.ann, window, now=now)
        zone = self.live.place.ann.time_zone
        fast = rendered.answer(window, now=now)
        assert fast is not None
        assert fast[1] == orjson.dumps(shaped(slow, zone))
        assert fast[0] == etag(slow, zone)
        return orjson.loads(fast[1])


@pytest.fixture
async def quiet(
    database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Quiet]:
    """Ann's account with three calendars in use, polled until nothing was new."""
    async with running(database, keyring, aiohttp_client) as live:
        live.ann.add_calendar("Third", calendar_id="third")
        assert (await live.connect(live.ann))[0] == 201
        await live.choose("Home", "Work", "Third")
        reader, threads = open_signals(database), StoreThreads(database)
        made = Quiet(live, Worker(live.context), reader, TimelineCache(reader, threads))
        for _ in range(3):
            await made.poll()
        yield made
        reader.close()
        threads.close()


@contextmanager
def rows_written(database: Database):
    """Yield the function that names the table of every row written since, by whomever."""
    sqlite = database.is_sqlite
    with database.write() as session:
        tables = sqlalchemy.inspect(session).get_table_names()
        session.exec_driver_sql("CREATE TABLE written (name TEXT)")
        if not sqlite:
            session.exec_driver_sql(
                "CREATE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " INSERT INTO written VALUES (TG_TABLE_NAME); RETURN NULL; END $$"
            )
        for table in tables:
            for event in ("INSERT", "UPDATE", "DELETE"):
                head = f"CREATE TRIGGER written_{table}_{event} AFTER {event} ON {table}"
                session.exec_driver_sql(
                    f"{head} BEGIN INSERT INTO written VALUES ('{table}'); END"
                    if sqlite
                    else f"{head} FOR EACH ROW EXECUTE FUNCTION note_written()"
                )

    def read() -> list[str]:
        with database.read() as session:
            return [row[0] for row in session.exec_driver_sql("SELECT name FROM written")]

    yield read


def _log_position(database: Database) -> int:
    """Return how many bytes the write-ahead log has ever held."""
    if database.is_sqlite:
        return Path(f"{database.url.database}-wal").stat().st_size
    with database.read() as session:
        query = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
        return int(session.exec_driver_sql(query).scalar_one())


def _keep_log(database: Database) -> None:
    """Let SQLite's log grow on and on."""

    @sqlalchemy.event.listens_for(database.engine, "connect")
    def _on_connect(connection, _record) -> None:
        if database.is_sqlite:
            connection.execute("PRAGMA wal_autocheckpoint=0")

    database.engine.dispose()


async def test_an_idle_poll_writes_one_row(quiet: Quiet) -> None:
    with rows_written(quiet.database) as written:
        for _ in range(2):
            await quiet.poll()
        assert written() == ["connections"] * 4  # claimed and ended, twice


async def test_an_idle_poll_writes_few_bytes(quiet: Quiet) -> None:
    _keep_log(quiet.database)
    await quiet.poll()
    before = _log_position(quiet.database)
    for _ in range(5):
        await quiet.poll()
    assert (_log_position(quiet.database) - before) / 5 <= MOST_BYTES


@pytest.mark.rule("R23", "R25")
async def test_an_idle_poll_leaves_the_timeline_and_makes_it_younger(quiet: Quiet) -> None:
    kept = await quiet.timeline()
    quiet.check(kept)
    now = int(quiet.live.place.clock())
    window = (now, now + DAY)
    etag = _etag(kept, window, now)
    generation = quiet.generation()
    version = quiet.reader.version(quiet.principal_id)
    for after in (310, 600, 890):
        at = await quiet.poll(after)
        await quiet.verified(at)
        assert quiet.reader.version(quiet.principal_id) == version
        assert await quiet.timeline() is kept
        sources = quiet.check(kept)["sources"]
        assert [(s["state"], s["age_s"]) for s in sources] == [("fresh", 0)] * 4
        assert _etag(kept, window, at) == etag
    assert quiet.generation() == generation


@pytest.mark.rule("R25")
async def test_a_kept_timeline_turns_stale_and_fresh_again(quiet: Quiet) -> None:
    kept = await quiet.timeline()
    clock = quiet.live.place.clock
    for passed, state in ((900, "fresh"), (1, "stale")):
        clock.now += passed
        assert {s["state"] for s in quiet.check(kept)["sources"][1:]} == {state}
    await quiet.verified(await quiet.poll(60))
    assert await quiet.timeline() is kept
    assert {s["state"] for s in quiet.check(kept)["sources"][1:]} == {"fresh"}


@pytest.mark.rule("R25")
async def test_a_poll_makes_no_calendar_younger_that_it_does_not_speak_for(quiet: Quiet) -> None:
    """One that was never read, is gone or is no longer in use keeps its own time."""
    chosen = await quiet.live.choose("Home", "Work", "Third", "Family")
    at = await quiet.poll()
    quiet.live.ann.drop_calendar("third")
    first, second = await quiet.poll(), await quiet.poll(700)
    for _ in range(2):
        last = await quiet.poll()
    with quiet.database.read() as session:
        connection = find_connection(session, quiet.principal_id)
        assert connection is not None
        found = {c.name: c for c in calendars.list_calendars(session, connection.id)}
    assert at < first < second < last
    assert (found["Third"].state, found["Third"].synced_at) == ("gone", at)
    assert {found[name].synced_at for name in ("Home", "Work", "Family")} == {last}
    assert found["Club fixtures"].synced_at is None
    quiet.check(await quiet.timeline())
    assert chosen["Family"]["role"] == "conflict"


def _etag(kept: KeptTimeline, window: tuple[int, int], now: int) -> str:
    answer = kept.answer(window, now=now)
    assert answer is not None
    return answer[0]
