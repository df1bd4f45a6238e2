"""Connections to upstream hosts, shared by all accounts of a process.

Credentials leave this process only here, so the fences stand here: https to the configured
domains only, no private address behind a public name (checked before it is connected to), no
redirect followed, no netrc, no proxies from the environment, no cookies, and no answer larger
than the cap.

caldav's client takes its HTTP session as a public attribute; :class:`Transport` stands in for it.
"""

import base64
import ipaddress
import logging
from typing import Any
from urllib.parse import SplitResult, urlsplit

from niquests.structures import CaseInsensitiveDict

from gateway.core.errors import NotICloud, UpstreamUnreachable
from gateway.settings import Settings
from gateway.upstream.quirks import DEFAULT_PORTS
from gateway.upstream.wire import Response, Wire

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

# Both libraries log whole requests and answers at DEBUG, and caldav even at INFO: titles.
for _name in ("caldav", "niquests", "urllib3", "urllib3_future"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def origin_of(url: str) -> str:
    """Return ``scheme://host[:port]`` with the default port left out (``:443`` is explicit).

    Raises :class:`UpstreamUnreachable` for what is no URL.
    """
    parts = split_url(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = _port(parts)
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port and port != DEFAULT_PORTS.get(parts.scheme) else ""
    )


def split_url(url: str) -> SplitResult:
    """Split a URL the server named; raises :class:`UpstreamUnreachable` (502) for what is none."""
    try:
        return urlsplit(url)
    except ValueError:
        raise UpstreamUnreachable(
            "iCloud named an address that is none; it was not used."
        ) from None


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None


def check_url(settings: Settings, url: str) -> None:
    """Raise :class:`NotICloud` unless credentials may be sent to this URL."""
    parts = split_url(url)
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


def check_address(settings: Settings, host: str, address: str) -> None:
    """Raise :class:`NotICloud` when an allowed name led to an address that is not public."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    if settings.upstream_allow_loopback and host in _LOOPBACK_NAMES:
        if ip.is_loopback:
            return
    elif ip.is_global and not ip.is_multicast:
        return
    raise NotICloud("The name of the server leads to a private address; nothing was sent there.")


class Headers(CaseInsensitiveDict):
    """The headers of an answer, with its body beside them.

    caldav hands these through as they are. Whatever it sees as content it parses as XML at once
    and logs when that fails, so it is shown none: an answer equal to the last one is never parsed.
    """

    body: bytes = b""


class Reply:
    """An answer in the shape caldav's response class expects; see :class:`Headers`."""

    content = b""
    text = ""

    def __init__(self, response: Response) -> None:
        self.status_code = response.status
        self.reason = response.reason
        self.headers = Headers(response.headers)
        self.headers.body = response.body


class Transport:
    """A connection pool with the fences; give one to every client, close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wire = Wire(
            timeout_s=settings.upstream_timeout_s,
            max_body=settings.upstream_max_body,
            check_address=lambda host, address: check_address(settings, host, address),
            per_host=settings.sync_slots * settings.upstream_parallel,  # all may be at one
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._wire.close()

    async def request(
        self,
        *,
        method: str,
        url: str,
        data: bytes | None,
        headers: dict[str, str],
        auth: Any,
        **_options: Any,
    ) -> Reply:
        """Send one request as caldav's client words it; redirects come back as they are.

        Raises :class:`NotICloud` for a forbidden target and the wire's own errors.
        """
        check_url(self._settings, url)
        sent = {**headers, "Authorization": _basic(auth.username, auth.password)}
        if data is None and method in ("PUT", "POST"):
            data = b""
        return Reply(await self._wire.request(method, url, sent, data))


def _basic(username: str, password: str) -> str:
    pair = f"{username}:{password}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"
