"""Plain HTTP clients: many requests at a time, at given moments, or one after the other.

They write the same bytes again and again and read no more of an answer than its status and
length, so that the client takes little from the machine it shares with the server.
"""

import asyncio
import base64
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

_END = b"\r\n\r\n"


class Refused(Exception):
    """The server answered something else than expected."""


def request_bytes(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return an HTTP/1.1 request that keeps the connection open."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: keep-alive"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def basic(login: tuple[str, str]) -> dict[str, str]:
    """Return the Authorization header of a login and its password."""
    return {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()}


# --- many at a time ---


async def hammer(
    address: tuple[str, int], requests: Sequence[bytes], *, times: int, at_once: int
) -> None:
    """Send ``times`` requests over ``at_once`` connections, in turn; all answers must be 200."""
    endless = cycle(requests)
    shares = [times // at_once + (number < times % at_once) for number in range(at_once)]
    await asyncio.gather(*(_repeat(address, endless, share) for share in shares))


async def _repeat(address: tuple[str, int], requests: Iterator[bytes], times: int) -> None:
    reader, writer = await asyncio.open_connection(*address, limit=2**20)
    try:
        for _ in range(times):
            writer.write(next(requests))
            head = await reader.readuntil(_END)
            _check(head, 200)
            await reader.readexactly(_length(head))
    finally:
        writer.close()
        await writer.wait_closed()


# --- at given moments ---


async def open_loop(
    address: tuple[str, int], request: bytes, times: int, rate: float, *, connections: int = 64
) -> list[float]:
    """Send ``times`` requests, ``rate`` a second whatever comes back; return their delays.

    In seconds from the moment each was due to its whole answer; what finds no free connection
    waits for one, and its delay goes on counting.
    """
    loop = asyncio.get_running_loop()
    pool = _Pool(request, times, loop)
    lines = [
        (await loop.create_connection(lambda: _Line(pool), *address))[1] for _ in range(connections)
    ]
    pool.idle.extend(lines)
    began, sent = loop.time() + 0.01, 0
    while sent < times and not pool.done.done():
        due = began + sent / rate
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        pool.ask(due)
        sent += 1
    delays = await pool.done
    for line in lines:
        line.transport.close()
    return delays


class _Pool:
    """Connections that are free, moments that wait for one, delays so far."""

    def __init__(self, request: bytes, times: int, loop: asyncio.AbstractEventLoop) -> None:
        self.request = request
        self.loop = loop
        self.idle: list[_Line] = []
        self.done: asyncio.Future[list[float]] = loop.create_future()
        self._waiting: deque[float] = deque()
        self._delays: list[float] = []
        self._times = times

    def ask(self, due: float) -> None:
        if self.idle:
            self.idle.pop().send(due)
        else:
            self._waiting.append(due)

    def answered(self, line: "_Line", due: float) -> None:
        self._delays.append(self.loop.time() - due)
        if self._waiting:
            line.send(self._waiting.popleft())
        else:
            self.idle.append(line)
        if len(self._delays) == self._times and not self.done.done():
            self.done.set_result(self._delays)

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(Refused(reason))


class _Line(asyncio.Protocol):
    """One connection of the open loop."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._due = 0.0
        self._got = b""
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.fail(f"connection lost: {exc}")

    def send(self, due: float) -> None:
        self._due, self._got, self._whole = due, b"", 0
        self.transport.write(self._pool.request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._whole:
            end = self._got.find(_END)
            if end < 0:
                return
            head = self._got[: end + 4]
            if head[9:12] != b"200":
                self._pool.fail(head.decode(errors="replace")[:300])
                return
            self._whole = end + 4 + _length(head)
        if len(self._got) >= self._whole:
            self._pool.answered(self, self._due)


# --- one after the other ---


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, head and body of an answer."""

    status: int
    head: bytes
    body: bytes


class Connection:
    """One kept-open connection; opens a new one when the server closed it."""

    def __init__(self, address: tuple[str, int], *, source: str | None = None) -> None:
        self.address = address
        self._source = None if source is None else (source, 0)
        self._socket: socket.socket | None = None
        self._rest = b""
        self.wall_s = 0.0

    def send(self, request: bytes) -> Answer:
        """Send one request and read the whole answer; adds to ``wall_s``."""
        if self._socket is None:
            self._socket = socket.create_connection(
                self.address, timeout=300, source_address=self._source
            )
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._rest = b""
        began = time.perf_counter()
        self._socket.sendall(request)
        head = self._read_until(_END)
        body = self._read_chunked() if b"chunked" in head.lower() else self._read(_length(head))
        self.wall_s += time.perf_counter() - began
        if b"connection: close" in head.lower():
            self.close()
        return Answer(int(head[9:12]), head, body)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _fill(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(2**18)
        if not data:
            raise Refused("the server closed the connection")
        self._rest += data

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._fill()
        found, self._rest = self._rest.split(mark, 1)
        return found + mark

    def _read(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._fill()
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _read_chunked(self) -> bytes:
        parts = []
        while size := int(self._read_until(b"\r\n").split(b";")[0], 16):
            parts.append(self._read(size + 2)[:-2])
        self._read_until(b"\r\n")
        return b"".join(parts)


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0


def _check(head: bytes, status: int) -> None:
    if int(head[9:12]) != status:
        raise Refused(f"{head.decode(errors='replace')[:300]}")
