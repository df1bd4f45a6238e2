"""How a CalDAV process and the API do under load: 1, 8 and 64 clients at once.

CPU per request must not follow the number of clients: threads of one interpreter that compute at
the same time cost each other more than they gain. Answers per second must rise until the cores are
used. CPU is that of the server and of all processes it started; the clients are another process on
the same cores.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.events import Mix, make_events
from benchmarks.fill import Filled, add_key, fill
from benchmarks.load import basic, request_bytes
from benchmarks.measure import Ratio, tree_cpu_s
from benchmarks.servers import Server, gateway_part
from gateway.store.access.principals import create_login
from gateway.store.engine import Database

MEMBERS = 600
CLIENTS = (1, 8, 64)
SECONDS = 4.0
MAX_CPU = 1.15
MIN_ANSWERS = 1.6

_PROPFIND = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:getetag/><d:getcontenttype/>'
    b"</d:prop></d:propfind>"
)


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure a listing by CalDAV and two answers of the API, each by clients at once."""
    rounds = 1 if quick else 3
    made = make_events(Mix.history(MEMBERS), today=datetime.now(UTC).date())
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        filled = fill(Path(name) / "ours", [made[:50]], made)
        logins, key = _logins(filled)
        caldav = stack.enter_context(gateway_part("caldav", filled.folder))
        listing = [_listing(filled, login) for login in logins]
        yield from _by_clients("PROPFIND depth 1", caldav, "caldav", listing, rounds)
        api = stack.enter_context(gateway_part("api", filled.folder))
        for label, request in _api_requests(filled, key).items():
            yield from _by_clients(label, api, "api", [request], rounds)


def _logins(filled: Filled) -> tuple[list[tuple[str, str]], str]:
    """Make a login for each client, and a key that may do everything."""
    database = Database(f"sqlite:///{(filled.folder / 'gateway.sqlite3').absolute()}")
    found = []
    try:
        with database.write() as session:
            for _ in range(max(CLIENTS)):
                login, secret = create_login(
                    session, principal_id=filled.principal_id, kind="device", now=int(time.time())
                )
                found.append((login.login, secret))
            key = add_key(session, filled.principal_id)
    finally:
        database.close()
    return found, key


def _listing(filled: Filled, login: tuple[str, str]) -> bytes:
    path = f"/{filled.principal_id}/platform/"
    headers = {**basic(login), "Depth": "1", "Content-Type": "application/xml"}
    return request_bytes("PROPFIND", path, _PROPFIND, headers)


def _api_requests(filled: Filled, key: str) -> dict[str, bytes]:
    """Two answers that read the store in its threads, a short and a longer one."""
    headers = {"Authorization": f"Bearer {key}"}
    paths = {
        "GET a principal": f"/v1/principals/{filled.principal_id}",
        "GET 100 Blocked Slots": f"/v1/blocked-slots?principal={filled.principal_id}&limit=100",
    }
    return {label: request_bytes("GET", path, b"", headers) for label, path in paths.items()}


def _by_clients(
    label: str, server: Server, part: str, requests: list[bytes], rounds: int
) -> Iterator[Ratio]:
    """Measure one request by all numbers of clients, in turns."""
    address = server.address(part)
    cpu: dict[int, list[float]] = {count: [] for count in CLIENTS}
    rate: dict[int, list[float]] = {count: [] for count in CLIENTS}
    _hammer(address, requests, 4, 0.5)
    for _ in range(rounds):
        for count in CLIENTS:
            began = tree_cpu_s(server.pid)
            answers, seconds = _hammer(address, requests, count, SECONDS)
            cpu[count].append((tree_cpu_s(server.pid) - began) / answers)
            rate[count].append(answers / seconds)
    one = median(cpu[1])
    for count in CLIENTS[1:]:
        mine = median(cpu[count])
        yield Ratio(
            "concurrency",
            f"{label}, {count} clients",
            "one client, CPU per request",
            mine / one,
            mine * 1000,
            one * 1000,
            target=MAX_CPU,
        )
        answers, alone = median(rate[count]), median(rate[1])
        yield Ratio(
            "concurrency",
            f"{label}, {count} clients",
            "one client, answers per second",
            answers / alone,
            1000 / answers,
            1000 / alone,
            target=MIN_ANSWERS if part == "caldav" and count == CLIENTS[1] else None,
            at_least=True,
            unit="wall",
        )


def _hammer(
    address: tuple[str, int], requests: list[bytes], count: int, seconds: float
) -> tuple[int, float]:
    """Ask from a process of its own; returns how many answers came in how many seconds."""
    host, port = address
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crowd", host, str(port), str(count), str(seconds)],
        input=json.dumps([request.decode() for request in requests]).encode(),
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return found["answers"], found["seconds"]
