"""The server process over real sockets: python-caldav, odd transports, slow clients, no key."""

import base64
import contextlib
import gzip
import http.client
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import caldav
import pytest
from caldav.lib import error as caldav_error

from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import migrate
from tests.storage_plugin.conftest import World, at, make_world
from tests.storage_plugin.dav import event, wrap

PROGRAM = """
from storage_plugin.server import serve
from gateway.settings import load_settings
serve(load_settings(), ready=lambda url: print(url, flush=True))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A world, and the URL and process of a server over it."""
    folder = tmp_path_factory.mktemp("served")
    settings = Settings(data_dir=folder, caldav_bind="127.0.0.1:0")
    database = Database(settings.database)
    migrate(database)
    Keyring.create(settings.keyring)
    world = make_world(database, settings)
    environment = {
        **os.environ,
        "GATEWAY_DATA_DIR": str(folder),
        "GATEWAY_CALDAV_BIND": "127.0.0.1:0",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield world, process.stdout.readline().strip(), process
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        database.close()


def client(world: World, url: str, dav=None) -> caldav.DAVClient:
    login = dav or world.device
    return caldav.DAVClient(
        url, username=login.login, password=login.secret, auth_type="basic", enable_rfc6764=False
    )


@pytest.mark.rule("R18", "R20", "R21")
def test_python_caldav_lives_with_it(served):
    world, url, _process = served
    with client(world, url) as dav:
        principal = dav.principal()
        names = sorted(calendar.get_display_name() for calendar in principal.get_calendars())
        assert names == ["Appointments", "Work"]
        platform = principal.calendar(cal_id="platform")
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
        made = platform.save_event(
            dtstart=start, dtend=start + timedelta(hours=1), summary="Dentist", uid="dentist-1"
        )
        assert platform.get_event_by_uid("dentist-1").icalendar_component["SUMMARY"] == "Dentist"
        found = platform.search(
            start=start - timedelta(hours=1), end=start + timedelta(hours=2), event=True
        )
        assert [item.icalendar_component["UID"] for item in found] == ["dentist-1"]
        token = platform.get_objects_by_sync_token().sync_token
        made.icalendar_component["SUMMARY"] = "Dentist, moved"
        made.save()
        changed = platform.get_objects_by_sync_token(token, load_objects=True)
        assert [item.icalendar_component["SUMMARY"] for item in changed] == ["Dentist, moved"]
        mine = principal.make_calendar(name="Mine", cal_id="mine")
        mine.save_event(dtstart=start, dtend=start + timedelta(hours=1), summary="Own", uid="own")
        assert len(mine.get_events()) == 1
        mine.delete()
        made.delete()
        assert platform.get_events() == []
        mirror = principal.calendar(cal_id="mirror-work")
        with pytest.raises(caldav_error.DAVError):
            mirror.save_event(dtstart=start, dtend=start + timedelta(hours=1), summary="No")


def raw(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)


def headers(world: World) -> dict[str, str]:
    pair = f"{world.device.login}:{world.device.secret}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def test_one_connection_serves_many_requests(served):
    world, url, _process = served
    connection = raw(url)
    connection.request("OPTIONS", "/")
    connection.getresponse().read()
    first = connection.sock
    xml = wrap("d:propfind", "<d:prop><d:displayname/></d:prop>")
    for method, path, body, expected in (
        ("PROPFIND", world.home, xml, 207),
        ("PUT", f"{world.platform_path}k.ics", event("k", at(9), at(10)), 201),
        ("DELETE", f"{world.platform_path}k.ics", b"", 204),
        ("GET", f"{world.platform_path}k.ics", b"", 404),
        ("PROPFIND", world.mirror_path, xml, 207),
    ):
        connection.request(method, path, body, headers(world))
        answer = connection.getresponse()
        answer.read()
        assert (method, answer.status) == (method, expected)
    assert connection.sock is first
    connection.close()


def test_chunked_bodies_and_expect(served):
    world, url, _process = served
    body = event("c", at(9), at(10))
    connection = raw(url)
    path = f"{world.platform_path}c.ics"
    connection.request("PUT", path, iter([body[:50], body[50:]]), headers(world))
    assert connection.getresponse().read() == b""
    connection.request("GET", path, headers=headers(world))
    assert connection.getresponse().read() == body
    connection.close()
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 10) as plain:
        lines = [f"PUT {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"Authorization: {headers(world)['Authorization']}", "Expect: 100-continue"]
        plain.sendall("\r\n".join([*lines, "", ""]).encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 100")
        plain.sendall(body)
        assert plain.recv(100).startswith(b"HTTP/1.1 204")


def test_idle_and_dripping_connections_leave_it_answering(served):
    world, url, _process = served
    where = (urlsplit(url).hostname, urlsplit(url).port)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(where, 5)) for _ in range(40)]
        for number, connection in enumerate(slow):
            if number % 2:
                connection.sendall(
                    b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nBEGIN"
                )
        begin = time.monotonic()
        connection = raw(url)
        for _ in range(5):
            connection.request("GET", world.platform_path, headers=headers(world))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        assert time.monotonic() - begin < 5
        connection.close()


def test_a_body_over_the_cap_is_413(served):
    world, url, _process = served
    connection = raw(url)
    connection.putrequest("PUT", f"{world.platform_path}big.ics")
    connection.putheader("Content-Length", str(50_000_000))
    connection.putheader("Authorization", headers(world)["Authorization"])
    connection.endheaders()
    with contextlib.suppress(OSError):
        for _ in range(60):
            connection.send(b" " * 1_000_000)
    assert connection.getresponse().status == 413
    connection.close()


def test_the_process_never_holds_the_key(served):
    world, _url, process = served
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    opened = {os.readlink(entry) for entry in Path(f"/proc/{process.pid}/fd").iterdir()}
    key = str(world.settings.keyring)
    assert Path(key).exists()
    assert key not in opened
    assert b"KEYRING" not in environment
    assert any(name.endswith("gateway.sqlite3") for name in opened)


def test_compressed_answers_say_what_they_depend_on(world):
    """A cache in between must not give the compressed answer to who cannot read it."""
    path = f"{world.platform_path}a.ics"
    put = world.device.put(path, event("a", at(9), at(10)))
    plain = world.device.get(path)
    packed = world.device.get(path, **{"Accept-Encoding": "gzip"})
    assert (plain.headers.get("Content-Encoding"), plain.headers["Vary"]) == (
        None,
        "Accept-Encoding",
    )
    assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == (
        "gzip",
        "Accept-Encoding",
    )
    assert gzip.decompress(packed.body) == plain.body
    listed = world.device.propfind(world.home, "d:displayname")
    assert listed.headers["Vary"] == "Brief, Prefer, Accept-Encoding"
    assert "Vary" not in put.headers
