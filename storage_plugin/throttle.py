"""Guessing is throttled by address and by (address, name), in all processes together.

Failures are counted in the database. What follows from them is read at most once a second, so a
correct login costs no query for it; after a failure of its own a process reads at once.
"""

import ipaddress
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus

from gateway.core.errors import StoreError
from gateway.store.engine import Database
from gateway.store.login_failures import blocked_keys, keys_of, note_failure
from storage_plugin.errors import DavError

READ_EVERY_S = 1.0


class LoginThrottle:
    """Knows who failed too often; one per process, shared by its threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blocked: Mapping[bytes, int] = {}
        self._read_at = float("-inf")

    def check(self, address: str, name: str) -> None:
        """Raise :class:`DavError` 429 while this address has failed too often."""
        if time.monotonic() - self._read_at >= READ_EVERY_S:
            self._read()
        if not self._blocked:
            return
        now = int(time.time())
        ends = [self._blocked.get(key, 0) for key in keys_of(network_of(address), name)]
        if max(ends) > now:
            raise _too_many_failures(max(ends) - now)

    def note_failure(self, address: str, name: str) -> None:
        """Count one failure; a busy database is no reason to answer anything but 401."""
        keys = keys_of(network_of(address), name)
        with suppress(StoreError), self._database.write() as session:
            note_failure(session, keys, now=int(time.time()))
        self._read_at = float("-inf")

    def _read(self) -> None:
        self._read_at = time.monotonic()
        with self._database.read() as session:
            self._blocked = blocked_keys(session, now=int(time.time()))


def _too_many_failures(wait_s: int) -> DavError:
    return DavError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "",
        f"Too many failed logins from this address; try again in {-(-wait_s // 60)} min.",
        headers={"Retry-After": str(wait_s)},
    )


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the part of an address that one customer has: all of IPv4, /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
