"""A sync worker that is killed while it works: another takes its accounts over within a minute.

An account that kills whoever works on it is told and rests; one whose worker was stopped is not.
"""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.errors import StateConflict
from gateway.lookalike.server import Lookalike
from gateway.services.accounts.roles import set_calendar_roles
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from gateway.sync.connect import connect
from gateway.sync.context import SyncContext
from gateway.sync.lease import leased
from gateway.sync.scheduler import Worker
from tests.e2e.conftest import GATEWAY, plain_environment, run_gateway

EMAIL = "robin@icloud.com"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20270101T090000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@dataclass
class Place:
    """One connected account that answers slowly, as a context here and as workers elsewhere."""

    server: Lookalike
    context: SyncContext
    database: Database
    environment: dict[str, str]
    connection_id: str
    ahead: float = 0.0

    def connection(self) -> accounts.Connection:
        with self.database.read() as session:
            return accounts.get_connection(session, self.connection_id)

    def slow(self, by: float) -> None:
        self.server.world.faults.set("slow", EMAIL, by=by, method="REPORT")

    def reports(self) -> int:
        return len(self.server.world.journal.select(method="REPORT"))

    async def end_in_the_midst(self, how: signal.Signals) -> None:
        """Start a worker and end it while it reads the calendar."""
        seen = self.reports()
        worker = await asyncio.to_thread(_start_worker, self.environment)
        try:
            async with asyncio.timeout(60):
                while self.reports() == seen:
                    assert worker.poll() is None
                    await asyncio.sleep(0.01)
        finally:
            worker.send_signal(how)
            await asyncio.to_thread(worker.communicate)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with Lookalike() as server:
        account = server.world.add_account(EMAIL)
        account.put("home", EVENT.encode(), "a.ics")
        environment = plain_environment(
            GATEWAY_DATA_DIR=str(tmp_path / "data"),
            GATEWAY_UPSTREAM_URL=server.url,
            GATEWAY_UPSTREAM_ALLOW_LOOPBACK="true",
        )
        done = await asyncio.to_thread(run_gateway, "init", environment=environment)
        assert done[0] == 0
        settings = Settings(
            data_dir=tmp_path / "data", upstream_url=server.url, upstream_allow_loopback=True
        )
        database = Database(settings.database)
        threads = StoreThreads(database)
        context = SyncContext(
            settings,
            threads,
            Keyring.load(settings.keyring),
            clock=lambda: time.time() + made.ahead,
        )
        made = Place(server, context, database, environment, "")
        made.connection_id = await _connected(context, database, account.issue_app_password())
        yield made
        await context.close()
        threads.close()
        database.close()


async def test_a_killed_workers_account_is_finished_by_another_within_a_minute(
    place: Place,
) -> None:
    place.slow(20)
    await place.end_in_the_midst(signal.SIGKILL)
    place.server.world.faults.clear("slow")
    mine = Worker(place.context)
    assert await mine.tick() == 0
    with pytest.raises(StateConflict) as kept:
        async with leased(place.context, place.connection_id, wait_s=0):
            raise AssertionError
    assert kept.value.code == "sync-running"
    place.ahead = 60.0
    assert await mine.tick() == 1
    assert (place.connection().failures, place.connection().problem) == (1, "run-crashed")
    await mine.idle()
    with place.database.read() as session:
        (home,) = [c for c in calendars.list_calendars(session, place.connection_id) if c.blocks]
    found = place.connection()
    assert (home.state, home.progress_done, found.state) == ("ok", 1, "ok")
    assert (found.failures, found.problem) == (0, None)


@pytest.mark.rule("R45")
async def test_an_account_that_kills_its_workers_rests_longer_each_time(place: Place) -> None:
    place.environment["GATEWAY_LEASE_S"] = "2"
    place.slow(20)
    for failures in (0, 1):
        await place.end_in_the_midst(signal.SIGKILL)
        assert place.connection().failures == failures
    seen = place.reports()
    third = await asyncio.to_thread(_start_worker, place.environment)
    try:
        async with asyncio.timeout(60):
            while place.connection().failures < 2:
                await asyncio.sleep(0.05)
        found = place.connection()
        assert (found.state, found.problem) == ("ok", "run-crashed")
        assert found.problem_detail is not None
        assert "killed" in found.problem_detail
        assert found.next_sync_at > time.time() + 40
        assert place.reports() == seen  # nobody was killed a third time
        assert third.poll() is None
    finally:
        third.terminate()
        await asyncio.to_thread(third.communicate)


@pytest.mark.rule("R45")
async def test_a_worker_that_is_stopped_while_it_works_costs_its_account_nothing(
    place: Place,
) -> None:
    place.slow(20)
    await place.end_in_the_midst(signal.SIGTERM)
    place.server.world.faults.clear("slow")
    found = place.connection()
    assert (found.failures, found.problem) == (0, None)
    mine = Worker(place.context)
    assert await mine.tick() == 1  # at once, no lease is waited for
    assert (place.connection().failures, place.connection().problem) == (0, None)
    await mine.idle()
    assert place.connection().synced_at is not None


async def _connected(context: SyncContext, database: Database, password: str) -> str:
    now = context.now()
    with database.write() as session:
        place = principals.create_subaccount(session, name="Practice", now=now)
        person = principals.create_principal(
            session, subaccount_id=place.id, name="Robin", time_zone="Europe/Berlin", now=now
        )
    connection = await connect(context, person.id, EMAIL, password)
    with database.write() as session:
        listed = calendars.list_calendars(session, connection.id)
        home = next(calendar for calendar in listed if calendar.name == "Home")
        set_calendar_roles(session, person.id, linked=home.id, conflicts=[], now=now)
    return connection.id


def _start_worker(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    worker = subprocess.Popen(
        [*GATEWAY, "worker", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert worker.stdout is not None
    assert json.loads(worker.stdout.readline())
    return worker
