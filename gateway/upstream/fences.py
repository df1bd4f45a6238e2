"""Where credentials may go: the fences around the wire.

https to the configured domains only, and no private address behind a public name (checked before
it is connected to). The wire itself follows no redirect, reads no netrc, no proxies from the
environment and no answer larger than the cap, and keeps no cookies.
"""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from gateway.core.errors import NotICloud, UpstreamUnreachable
from gateway.settings import Settings
from gateway.upstream.icloud import DEFAULT_PORTS
from gateway.upstream.wire import Wire

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


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


def fenced_wire(settings: Settings) -> Wire:
    """Open the connections of a process; one for all its accounts, to be closed at the end."""
    return Wire(
        timeout_s=settings.upstream_timeout_s,
        max_body=settings.upstream_max_body,
        check_url=lambda url: check_url(settings, url),
        check_address=lambda host, address: check_address(settings, host, address),
        per_host=settings.sync_slots * settings.upstream_parallel,  # all may be at one
    )
