"""A sync worker that is killed while it works: another takes its accounts over within a minute."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gateway.core.errors import Conflict
from gateway.lookalike.server import Lookalike
from gateway.services.roles import set_calendar_roles
from gateway.settings import Settings
from gateway.store import accounts, calendars, principals
from gateway.store.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from gateway.sync.connect import connect
from gateway.sync.context import SyncContext
from gateway.sync.lease import leased
from gateway.sync.scheduler import Worker
from tests.e2e.conftest import GATEWAY, plain_environment, run_gateway

EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20270101T090000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


async def test_a_killed_workers_account_is_finished_by_another_within_a_minute(
    tmp_path: Path,
) -> None:
    async with Lookalike() as server:
        account = server.world.add_account("robin@icloud.com")
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
        ahead = 0.0
        context = SyncContext(
            settings, threads, Keyring.load(settings.keyring), clock=lambda: time.time() + ahead
        )
        connection_id = await _connected(context, database, account.issue_app_password())
        server.world.faults.set("slow", "robin@icloud.com", by=20, method="REPORT")
        worker = await asyncio.to_thread(_start_worker, environment)
        try:
            while not server.world.journal.select(method="REPORT"):
                await asyncio.sleep(0.01)
        finally:
            worker.send_signal(signal.SIGKILL)
            await asyncio.to_thread(worker.communicate)
        server.world.faults.clear("slow")
        mine = Worker(context)
        assert await mine.tick() == 0
        with pytest.raises(Conflict) as kept:
            async with leased(context, connection_id, wait_s=0):
                raise AssertionError
        assert kept.value.code == "sync-running"
        ahead = 60.0
        assert await mine.tick() == 1
        await mine.idle()
        with database.read() as session:
            (home,) = [c for c in calendars.list_calendars(session, connection_id) if c.blocks]
            found = accounts.get_connection(session, connection_id)
        assert (home.state, home.progress_done, found.state) == ("ok", 1, "ok")
        await context.close()
        threads.close()
        database.close()


async def _connected(context: SyncContext, database: Database, password: str) -> str:
    now = context.now()
    with database.write() as session:
        place = principals.create_subaccount(session, name="Practice", now=now)
        person = principals.create_principal(
            session, subaccount_id=place.id, name="Robin", time_zone="Europe/Berlin", now=now
        )
    connection = await connect(context, person.id, "robin@icloud.com", password)
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
