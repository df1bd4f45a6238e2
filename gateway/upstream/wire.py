"""HTTP towards upstream hosts, on aiohttp's client: bounded, checked, without a will of its own.

It follows nothing, keeps no cookies, knows no proxies and no credentials, and repeats nothing:
:mod:`gateway.upstream.fences` says where it may go, :mod:`gateway.upstream.client` what is asked.
"""

import asyncio
import hashlib
import ipaddress
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from gateway.core.errors import UpstreamUnreachable

IDLE_S = 25.0
"""Connections unused for longer are not used again: iCloud drops them well under 90 seconds."""

CONNECT_S = 10.0
_CHUNK = 64 * 1024

URLCheck = Callable[[str], None]
"""Called with every URL before anything is done about it; raises to refuse."""

AddressCheck = Callable[[str, str], None]
"""Called with the host and each of its addresses before one is connected to; raises to refuse."""


class ExchangeBroken(UpstreamUnreachable):
    """The exchange broke: nobody there, connection lost, or what came is not HTTP."""

    def __init__(self) -> None:
        super().__init__("The connection to iCloud broke, or nobody is there.")


class TooLarge(UpstreamUnreachable):
    """The answer is larger than the cap."""

    def __init__(self) -> None:
        super().__init__("iCloud's answer is larger than this gateway accepts.", status=207)


class TooSlow(UpstreamUnreachable):
    """The answer did not come in time."""

    def __init__(self) -> None:
        super().__init__("iCloud did not answer in time.")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as read; header names are lower-case, repeated ones joined with a comma."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """A digest of the body: equal answers are equal to the byte."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def etag(self) -> str | None:
        """The ETag, exactly as on the wire."""
        return self.headers.get("etag") or None


class _CheckedResolver(AbstractResolver):
    """Looks names up and shows every address to the check before it can be connected to."""

    def __init__(self, check: AddressCheck) -> None:
        self._check = check
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raises what the check raises."""
        found = await self._resolver.resolve(host, port, family)
        for address in found:
            self._check(host, address["host"])
        return found

    async def close(self) -> None:
        """Nothing is held."""


class Wire:
    """Connections of one process, kept alive and shared by whoever asks the same host."""

    def __init__(
        self,
        *,
        timeout_s: float,
        max_body: int,
        check_url: URLCheck,
        check_address: AddressCheck,
        per_host: int = 64,
    ) -> None:
        self._per_host = per_host
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._check_url = check_url
        self._check_address = check_address
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send one request and read its answer; never follows, never repeats.

        Raises :class:`ExchangeBroken`, :class:`TooLarge`, :class:`TooSlow` and what checks raise.
        """
        self._check_url(url)
        try:
            async with asyncio.timeout(3 * self._timeout_s):
                return await self._exchange(method, url, headers, body)
        except TimeoutError:  # aiohttp's own for a silent peer is one too
            raise TooSlow from None
        except (aiohttp.ClientError, OSError) as error:
            raise ExchangeBroken from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        target = _target(url)
        if target.host and _is_literal(target.host):  # no name to look up, so checked here
            self._check_address(target.host, target.host)
        if self._session is None:
            self._session = self._open()
        async with self._session.request(
            method, target, headers=headers, data=body, allow_redirects=False
        ) as answer:
            content = await self._read(answer)
            return Response(answer.status, _joined(answer), content)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        if (answer.content_length or 0) > self._max_body:
            raise TooLarge
        parts = BytesIO()  # gives its bytes away in the end; joining a list would hold them twice
        async for part in answer.content.iter_chunked(_CHUNK):
            parts.write(part)
            if parts.tell() > self._max_body:
                raise TooLarge
        body = parts.getvalue()
        parts.close()
        squeezed = answer.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip")
        return _gunzip(body, self._max_body) if squeezed else body

    def _open(self) -> aiohttp.ClientSession:
        """Make the session, inside the running loop."""
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._per_host,
            keepalive_timeout=IDLE_S,
            resolver=_CheckedResolver(self._check_address),
            ssl=ssl.create_default_context(),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "gzip"},
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            auto_decompress=False,  # the cap holds for what comes out of it, and it must be whole
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_S, sock_read=self._timeout_s
            ),
        )
        # aiohttp repeats a GET, PUT or DELETE by itself when the connection breaks. Whether a
        # write in doubt is repeated is ours to decide; a test fails should this switch vanish.
        session._retry_connection = False
        return session


def _target(url: str) -> URL:
    try:
        return URL(url, encoded=True)  # percent-encoding stays as it was given
    except ValueError as error:
        raise ExchangeBroken from error


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _gunzip(body: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise ExchangeBroken from error
    if len(plain) > limit:
        raise TooLarge
    if not inflate.eof:
        raise ExchangeBroken
    return plain


def _joined(answer: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers
