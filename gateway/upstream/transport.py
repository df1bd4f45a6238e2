"""Connections to upstream hosts, shared by all accounts of a process.

Credentials leave this process only here, so the fences stand here: https to the configured
domains only, no private address behind a public name (checked on the connected socket, before
the request is sent), no redirect followed by the library, no netrc, no proxies from the
environment, no cookies, and no answer larger than the cap.
"""

import ipaddress
import logging
from typing import Any
from urllib.parse import SplitResult, urlsplit

import niquests
from niquests.structures import CaseInsensitiveDict

from gateway.core.errors import NotICloud, UpstreamUnreachable
from gateway.settings import Settings
from gateway.upstream.quirks import DEFAULT_PORTS

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_POOL = 32
_CHUNK = 64 * 1024

# Both libraries log whole requests and answers at DEBUG, and caldav even at INFO: titles.
for _name in ("caldav", "niquests", "urllib3", "urllib3_future"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def origin_of(url: str) -> str:
    """Return ``scheme://host[:port]`` with the default port left out (``:443`` is explicit)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = _port(parts)
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port and port != DEFAULT_PORTS.get(parts.scheme) else ""
    )


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None


def check_url(settings: Settings, url: str) -> None:
    """Raise :class:`NotICloud` unless credentials may be sent to this URL."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").casefold()
    if parts.username or parts.password:
        raise NotICloud("The server named an address with credentials in it; it was not used.")
    if settings.upstream_allow_loopback and host in _LOOPBACK_NAMES:
        return
    if parts.scheme == "https" and any(
        host == domain or host.endswith(f".{domain}") for domain in settings.upstream_domains
    ):
        return
    raise NotICloud("The server pointed to a host outside iCloud; nothing was sent there.")


def check_address(settings: Settings, url: str, address: str) -> None:
    """Raise :class:`NotICloud` when an allowed name led to an address that is not public."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    if settings.upstream_allow_loopback and (urlsplit(url).hostname in _LOOPBACK_NAMES):
        if ip.is_loopback:
            return
    elif ip.is_global and not ip.is_multicast:
        return
    raise NotICloud("The name of the server leads to a private address; nothing was sent there.")


class Reply:
    """An answer as read from the wire, in the shape caldav's response class expects.

    ``headers`` tells caldav "text/plain": it tries XML anyway and does not log the body when the
    answer is something else. The type says nothing reliable upstream.
    """

    def __init__(self, status: int, reason: str, headers: dict[str, str], content: bytes) -> None:
        self.status_code = status
        self.reason = reason
        self.content = content
        self.headers = CaseInsensitiveDict({**headers, "Content-Type": "text/plain"})
        self.headers.pop("Content-Length", None)

    @property
    def text(self) -> str:
        """The body as text; never used for calendar data."""
        return self.content.decode("utf-8", "replace")


class Transport:
    """A connection pool with the fences; give one to every client, close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = niquests.AsyncSession(
            pool_connections=_POOL,
            pool_maxsize=_POOL,
            disable_http3=True,
            revocation_configuration=None,
            allow_incoming_cookies=False,
            hooks={"pre_send": [self._check_connected]},
        )
        self._session.trust_env = False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def _check_connected(self, request: Any) -> None:
        info = request.conn_info
        address = info.destination_address[0] if info and info.destination_address else None
        if address is not None:
            check_address(self._settings, str(request.url), address)

    async def request(self, method: str, url: str, **options: Any) -> Reply:
        """Send one request and read the answer up to the cap; redirects come back as they are.

        Raises :class:`NotICloud` for a forbidden target, :class:`UpstreamUnreachable` for a body
        beyond the cap, and niquests' own errors for everything on the wire.
        """
        check_url(self._settings, url)
        options.update(allow_redirects=False, stream=True, proxies=None)
        response: Any = await self._session.request(method, url, **options)
        try:
            content = await _read(response, self._settings.upstream_max_body)
        finally:
            await response.close()
        return Reply(response.status_code, response.reason or "", dict(response.headers), content)


async def _read(response: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in await response.iter_content(_CHUNK):
        size += len(part)
        if size > limit:
            raise UpstreamUnreachable("iCloud's answer is larger than this gateway accepts.")
        parts.append(part)
    return b"".join(parts)
