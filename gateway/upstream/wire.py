"""HTTP/1.1 on asyncio streams, for one kind of peer: a few large hosts asked over and over.

General clients spend several times the CPU of the exchange itself on each request; an idle poll of
thousands of accounts is nothing but such exchanges. What is here is small on purpose: keep-alive,
Content-Length and chunked bodies (RFC 9112 6), gzip, deadlines, caps. No redirects, no cookies, no
proxies, no credentials: see :mod:`gateway.upstream.transport` for the fences.
"""

import asyncio
import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MAX_HEAD = 64 * 1024
IDLE_S = 25.0
"""Connections unused for longer are not used again: iCloud drops them well under 90 seconds."""

CONNECT_S = 10.0
_CHUNK = 64 * 1024
_PER_ORIGIN = 64

AddressCheck = Callable[[str, str], None]
"""Called with the URL and each address before it is connected to; raises to refuse."""


class Broken(Exception):
    """The exchange broke: nobody there, connection lost, or what came is not HTTP.

    ``reused`` says that it was an old connection which gave no answer at all.
    """

    def __init__(self, detail: str, *, reused: bool = False) -> None:
        super().__init__(detail)
        self.reused = reused


class TooLarge(Exception):
    """The answer is larger than the cap."""


class TooSlow(Exception):
    """The answer did not come in time."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as read; header names are lower-case, repeated ones joined with a comma."""

    status: int
    reason: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used_at: float = 0.0
    answers: int = 0

    def is_usable(self) -> bool:
        fresh = time.monotonic() - self.used_at < IDLE_S
        return fresh and not self.reader.at_eof() and not self.writer.is_closing()


class Wire:
    """Connections of one process, kept alive and shared by whoever asks the same origin."""

    def __init__(self, *, timeout_s: float, max_body: int, check_address: AddressCheck) -> None:
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._check_address = check_address
        self._idle: dict[str, deque[_Connection]] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._tls: ssl.SSLContext | None = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send one request and read its answer; never follows, never repeats.

        Raises :class:`Broken`, :class:`TooLarge`, :class:`TooSlow` and what the address check
        raises.
        """
        parts = urlsplit(url)
        message = _render(method, parts.netloc, _target(parts.path, parts.query), headers, body)
        try:
            async with self._connection(url, parts.scheme, parts.netloc) as connection:
                return await self._exchange(connection, message)
        except TimeoutError:
            raise TooSlow("no answer in time") from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Broken(type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections that are not in use."""
        for connections in self._idle.values():
            while connections:
                await _close(connections.pop().writer)

    # --- connections ---

    @asynccontextmanager
    async def _connection(self, url: str, scheme: str, netloc: str) -> AsyncIterator[_Connection]:
        origin = f"{scheme}://{netloc}"
        slots = self._slots.setdefault(origin, asyncio.Semaphore(_PER_ORIGIN))
        async with slots:
            connection = await self._take(origin) or await self._open(url)
            try:
                yield connection
            except BaseException:
                connection.writer.transport.abort()
                raise
            if connection.writer.is_closing():
                return
            connection.used_at = time.monotonic()
            self._idle.setdefault(origin, deque()).append(connection)

    async def _take(self, origin: str) -> _Connection | None:
        """Return the connection used last, dropping those that are too old."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            await _close(connection.writer)
        return None

    async def _open(self, url: str) -> _Connection:
        """Connect to the first address that answers; each is checked before."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError = OSError("no address")
        for _, _, _, _, address in found:
            self._check_address(url, str(address[0]))
            try:
                async with asyncio.timeout(min(CONNECT_S, self._timeout_s)):
                    return _Connection(
                        *await self._connect(str(address[0]), port, parts.scheme, host)
                    )
            except OSError as error:  # TimeoutError is one
                failure = error
        raise failure

    async def _connect(
        self, address: str, port: int, scheme: str, host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if scheme != "https":
            return await asyncio.open_connection(address, port, limit=MAX_HEAD)
        self._tls = self._tls or ssl.create_default_context()
        return await asyncio.open_connection(
            address, port, limit=MAX_HEAD, ssl=self._tls, server_hostname=host
        )

    # --- one exchange ---

    async def _exchange(self, connection: _Connection, message: bytes) -> Response:
        reader, writer = connection.reader, connection.writer
        reused = connection.answers > 0
        async with asyncio.timeout(self._timeout_s):
            writer.write(message)
            try:
                await writer.drain()
                status, reason, headers = await _read_head(reader)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                silent = not getattr(error, "partial", b"")
                raise Broken("connection lost", reused=reused and silent) from error
        async with asyncio.timeout(2 * self._timeout_s):
            body, keep = await self._read_body(reader, status, headers)
        connection.answers += 1
        if not keep or headers.get("connection", "").lower() == "close":
            await _close(writer)
        return Response(status, reason, headers, body)

    async def _read_body(
        self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]
    ) -> tuple[bytes, bool]:
        """Read the body by its framing; the flag says whether the connection can go on."""
        limit = self._max_body
        keep = True
        if status in (204, 304):
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = await _read_chunked(reader, limit)
        elif (length := headers.get("content-length")) is not None:
            if not length.isdigit():
                raise Broken("a body of no length")
            if int(length) > limit:
                raise TooLarge("the body is too large")
            body = await reader.readexactly(int(length))
        else:
            body, keep = await _read_to_end(reader, limit), False
        if headers.get("content-encoding", "").lower() in ("gzip", "x-gzip"):
            body = _gunzip(body, limit)
        return body, keep


def _render(
    method: str, host: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: gzip"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""])
    if any(c in "\r\n\0" for line in lines for c in line):
        raise ValueError("a header with a line break")
    return head.encode("utf-8") + (body or b"")


def _target(path: str, query: str) -> str:
    return (path or "/") + (f"?{query}" if query else "")


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, str]]:
    """Read the status line and the headers, skipping interim answers (RFC 9110 15.2)."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        version, _, rest = first.partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not (len(code) == 3 and code.isdigit()):
            raise Broken("not an HTTP answer")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise Broken("not an HTTP header")
            key = name.strip().lower()
            value = value.strip()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        if not code.startswith("1"):
            return int(code), reason, headers


async def _read_chunked(reader: asyncio.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        line = (await reader.readuntil(b"\n")).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise Broken("not a chunk") from None
        if size == 0:
            while (await reader.readuntil(b"\n")).strip():
                pass  # trailers
            return b"".join(parts)
        total += size
        if total > limit or size < 0:
            raise TooLarge("the body is too large")
        parts.append(await reader.readexactly(size))
        await reader.readuntil(b"\n")


async def _read_to_end(reader: asyncio.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    while part := await reader.read(_CHUNK):
        total += len(part)
        if total > limit:
            raise TooLarge("the body is too large")
        parts.append(part)
    return b"".join(parts)


def _gunzip(body: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise Broken("not gzip") from error
    if len(plain) > limit:
        raise TooLarge("the body is too large")
    if not inflate.eof:
        raise Broken("gzip ends early")
    return plain


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
