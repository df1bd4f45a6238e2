"""Addresses of clients: who stands behind a proxy, and what one customer has of the network."""

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the part of an address that one customer has: all of IPv4, /64 of IPv6.

    An IPv4 address inside IPv6 is that IPv4 address. What is no address stays as it is.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def client_of(peer: str, forwarded_for: str, trusted: frozenset[str]) -> str:
    """Return the client's address: what a trusted peer says last, else the peer itself.

    ``forwarded_for`` is X-Forwarded-For as it came. Only its last entry was written by the proxy
    that is trusted; those before it are the client's own words.
    """
    if peer not in trusted:
        return peer
    return forwarded_for.rpartition(",")[2].strip() or peer
