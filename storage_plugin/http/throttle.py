"""Guessing is throttled by address and by (address, name), in all processes together.

Failures count in memory at once and in the database as soon as it can be written. What other
processes counted is read at most once a second, so a correct login costs no query for it.
"""

import time
from http import HTTPStatus

from gateway.core.addresses import network_of
from gateway.store.access.failure_counter import FailureCounter
from gateway.store.engine import Database
from storage_plugin.http.errors import DavError

READ_EVERY_S = 1.0


class LoginThrottle:
    """Knows who failed too often; one per process, shared by its threads."""

    def __init__(self, database: Database) -> None:
        self._counter = FailureCounter(database)
        self._read_at = float("-inf")

    def check(self, address: str, name: str) -> None:
        """Raise :class:`DavError` 429 while this address has failed too often."""
        if time.monotonic() - self._read_at >= READ_EVERY_S:
            self._read_at = time.monotonic()
            self._counter.read()
        if not self._counter.knows_any():
            return
        wait_s = self._counter.wait_s(network_of(address), name)
        if wait_s:
            raise _too_many_failures(wait_s)

    def note_failure(self, address: str, name: str) -> None:
        """Count one failure; nobody waits for a database that others hold."""
        self._counter.note(network_of(address), name, at_once=True)
        self._read_at = float("-inf")


def _too_many_failures(wait_s: int) -> DavError:
    return DavError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "",
        f"Too many failed logins from this address; try again in {-(-wait_s // 60)} min.",
        headers={"Retry-After": str(wait_s)},
    )
