"""Abuses of the API; see :mod:`benchmarks.abuse`."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from benchmarks.abuse import Abuse, World
from benchmarks.load import Connection, Refused, request_bytes

Make = Callable[[World], bytes]
ABUSER = "127.0.0.2"
"""The abuser has an address of its own: what is bounded by address must not meet the others."""


def _loop(make: Make, clients: int) -> Callable[[World], None]:
    """Send what ``make`` returns over and over from so many clients, whatever comes back."""

    def act(world: World) -> None:
        def client() -> None:
            connection = Connection(world.api, source=ABUSER)
            while True:
                try:
                    connection.send(make(world))
                except (OSError, Refused, ValueError):
                    connection.close()
                    time.sleep(0.01)

        _together(client, clients)

    return act


def _together(client: Callable[[], None], clients: int) -> None:
    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _compressed(world: World) -> bytes:
    """Return a body of a megabyte that inflates to a gigabyte, without any key."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    return request_bytes("POST", "/v1/holds", _bomb(), headers)


def _bomb() -> bytes:
    if not _made:
        _made.append(gzip.compress(bytes(250_000_000), 6))
    return _made[0]


_made: list[bytes] = []


def _wrong_key(world: World) -> bytes:
    """Return a key nobody has, another one each time."""
    del world
    headers = {"Authorization": f"Bearer gw_{time.perf_counter_ns():032d}"}
    return request_bytes("GET", "/v1/status", headers=headers)


def _get(path: str) -> Make:
    return lambda _: request_bytes("GET", path)


def _year_of_200(world: World) -> bytes:
    """Free/busy of 200 people over a year, cut by days: the largest question there is."""
    start = datetime.now(UTC).replace(microsecond=0)
    body = {
        "principals": list(world.principals),
        "start": start.isoformat(),
        "end": (start + timedelta(days=366)).isoformat(),
        "group_by": "day",
    }
    headers = {"Authorization": f"Bearer {world.key}", "Content-Type": "application/json"}
    return request_bytes("POST", "/v1/freebusy", json.dumps(body).encode(), headers)


def _slow_heads(world: World) -> None:
    """Two thousand connections that send a head byte by byte and never end it."""
    lines: list[socket.socket] = []
    while True:
        while len(lines) < 2_000:
            try:
                line = socket.create_connection(world.api, timeout=2, source_address=(ABUSER, 0))
                line.sendall(b"GET /v1/status HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            except OSError:
                break
            lines.append(line)
        for line in list(lines):
            with suppress(OSError):
                line.sendall(b"a")
                continue
            lines.remove(line)
            line.close()
        time.sleep(0.2)


ABUSES: tuple[Abuse, ...] = (
    Abuse("compressed bodies, 3 clients, no key", _loop(_compressed, 3), settle_s=3.0),
    Abuse("GET /metrics, 8 clients, no key", _loop(_get("/metrics"), 8)),
    Abuse("GET /docs, 8 clients, no key", _loop(_get("/docs"), 8)),
    Abuse("GET /openapi.json, 8 clients, no key", _loop(_get("/openapi.json"), 8)),
    Abuse("GET /readyz, 8 clients, no key", _loop(_get("/readyz"), 8)),
    Abuse("wrong keys, 8 clients", _loop(_wrong_key, 8)),
    Abuse("free/busy of 200 people over a year by day, 2 clients", _loop(_year_of_200, 2)),
    Abuse("2,000 connections with a head that never ends", _slow_heads, settle_s=3.0),
)
