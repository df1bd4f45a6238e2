"""The same engine against servers we did not write: plain Radicale and Xandikos.

The look-alike is ours and proves nothing by itself; these speak CalDAV by their own lights.
"""

import http.client
import os
import random
import socket
import subprocess
import sys
import time
from base64 import b64encode
from urllib.parse import quote

import pytest

from gateway.settings import Settings
from gateway.store import calendars, objects, outbox
from gateway.store.accounts import Credential
from gateway.sync.connect import ask_account, record_connection
from tests.sync.conftest import Site, create_principal, event, make_context

USER, PASSWORD = "robin", "any password"
AUTHORIZATION = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
RADICALE = """
[auth]
type = none
[storage]
filesystem_folder = {folder}
[logging]
level = error
"""


class Foreign:
    """A running server and a phone that speaks plain HTTP to it."""

    def __init__(self, port: int, calendars: tuple[str, str]) -> None:
        self.port = port
        self.calendars = calendars

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                method, quote(path), body, {"Authorization": AUTHORIZATION, **headers}
            )
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def put(self, calendar: int, name: str, body: bytes) -> None:
        status = self.ask(
            "PUT", self.calendars[calendar] + name, body, **{"Content-Type": "text/calendar"}
        )
        assert status in (200, 201, 204), status

    def delete(self, calendar: int, name: str) -> None:
        assert self.ask("DELETE", self.calendars[calendar] + name) in (200, 204)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(port: int, process: subprocess.Popen) -> None:
    for _ in range(200):
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture(scope="module", params=["radicale", "xandikos"])
def foreign(request: pytest.FixtureRequest, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    port = free_port()
    if request.param == "radicale":
        config = folder / "config"
        config.write_text(RADICALE.format(folder=folder / "data"))
        command = ["-m", "radicale", "--config", str(config), "--hosts", f"127.0.0.1:{port}"]
        paths = (f"/{USER}/one/", f"/{USER}/two ü/")
    else:
        command = [
            *("-m", "xandikos", "-d", str(folder / "data"), "--defaults"),
            *("-l", "127.0.0.1", "-p", str(port), "--current-user-principal", f"/{USER}/"),
        ]
        paths = (f"/{USER}/calendars/calendar/", f"/{USER}/calendars/two/")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_up(port, process)
        running = Foreign(port, paths)
        for path in paths:
            running.ask("MKCALENDAR", path)
        yield running
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def site(foreign: Foreign, sqlite_database, keyring, clock, tmp_path):
    settings = Settings(
        upstream_url=f"http://127.0.0.1:{foreign.port}/",
        upstream_allow_loopback=True,
        upstream_requests_per_minute=100_000,
        data_dir=tmp_path,
    )
    async for context in make_context(settings, sqlite_database, keyring, clock):
        made = Site(
            server=None,
            account=None,
            password=PASSWORD,
            context=context,
            database=sqlite_database,
            clock=clock,
            principal_id=create_principal(sqlite_database),
        )
        credential = Credential(USER, PASSWORD)
        found = await ask_account(settings, credential, transport=context.transport)
        connection = await record_connection(context, made.principal_id, credential, found)
        made.connection_id = connection.id
        yield made


def segment(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@pytest.mark.rule("R9", "R12")
async def test_edits_between_syncs_arrive_whole(foreign: Foreign, site: Site) -> None:
    listed = site.read(calendars.list_calendars, site.connection_id)
    assert {c.path for c in listed if c.linkable} >= set(foreign.calendars)
    site.roles(linked=segment(foreign.calendars[0]), conflicts=(segment(foreign.calendars[1]),))
    chance = random.Random(7)
    expected: list[dict[str, bytes]] = [{}, {}]
    for turn in range(4):
        for _ in range(30 if turn == 0 else 6):
            calendar = chance.randrange(2)
            known = sorted(expected[calendar])
            if known and chance.random() < 0.3:
                name = chance.choice(known)
                foreign.delete(calendar, name)
                del expected[calendar][name]
                continue
            name = chance.choice(known) if known and chance.random() < 0.4 else None
            name = name or f"e{calendar}-{chance.randrange(10**9)} ü.ics"
            summary = f"S{chance.randrange(10**9)}"
            body = event(name[:-4].replace(" ü", ""), summary=summary)
            foreign.put(calendar, name, body)
            expected[calendar][name] = summary.encode()
        site.clock.advance(100_000 if turn == 3 else 60)
        report = await site.sync()
        assert report.ok
        for calendar, path in enumerate(foreign.calendars):
            here = site.mirrored(segment(path))
            assert set(here) == set(expected[calendar])
            for name, summary in expected[calendar].items():
                assert summary in here[name].body
    before = site.read(calendars.list_calendars, site.connection_id)
    report = await site.sync()
    assert (report.requests, report.calendars) == (1, [])
    after = site.read(calendars.list_calendars, site.connection_id)
    assert [c.sync_token for c in after] == [c.sync_token for c in before]


@pytest.mark.rule("R13", "R17")
async def test_pushes_go_up_change_and_come_down(foreign: Foreign, site: Site) -> None:
    linked = foreign.calendars[0]
    site.roles(linked=segment(linked), conflicts=())
    assert (await site.sync()).ok
    site.book()
    report = await site.sync()
    assert (report.pushed, report.ok) == (1, True)
    (row,) = site.ledger()
    assert row.state == "pushed"
    assert row.upstream_name not in site.mirrored(segment(linked))
    site.book(body=event("local-1", "20261002T090000", "20261002T100000"))
    assert (await site.sync()).pushed == 1
    foreign.put(0, row.upstream_name, event(row.upstream_uid, "20261005T090000", "20261005T100000"))
    assert (await site.sync()).ok
    assert b"DTSTART:20261005T090000Z" in site.platform_object().body
    foreign.delete(0, row.upstream_name)
    assert (await site.sync()).ok
    assert [a.status for a in site.appointments()] == ["cancelled"]
    assert site.read(outbox.list_errands, site.principal_id) == []
    assert site.read(objects.list_problems, site.principal_id) == []
