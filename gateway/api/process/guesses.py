"""Whoever guesses keys or public addresses is stopped by where they come from.

A try that fails counts against the caller's network. Beyond ``PER_ADDRESS`` of
:mod:`gateway.store.access.login_failures` nothing that is not known is looked up any more: the
answer is 429 from memory. What was right once goes on working from there, for behind a proxy
that is not in ``trusted_proxies`` all callers look like one.
"""

import hashlib
import secrets

from aiohttp import web

from gateway.core.addresses import client_of, network_of
from gateway.core.errors import TooManyRequests
from gateway.observe import Neighbours
from gateway.store.access.failure_counter import FailureCounter

MOST_KNOWN = 50_000


class Guesses:
    """Counts wrong secrets by caller; ``trusted`` are the proxies that name their clients."""

    def __init__(self, counter: FailureCounter, trusted: frozenset[str]) -> None:
        self._counter = counter
        self._trusted = trusted
        self._right: set[bytes] = set()
        self._neighbours = Neighbours("api", trusted)

    def network(self, request: web.Request) -> str:
        """Return the part of the network that the caller has."""
        named = request.headers.get("X-Forwarded-For", "")
        return network_of(client_of(request.remote or "", named, self._trusted))

    def note_forwarded(self, request: web.Request) -> None:
        """Take note of X-Forwarded-For, which only a listed proxy should send."""
        self._neighbours.note(request.remote or "")

    def check(self, request: web.Request, secret: str) -> None:
        """Raise :class:`TooManyRequests` while the caller guesses, and this is a guess."""
        wait_s = self._counter.wait_s(_address(self.network(request)), "")
        if wait_s and _digest(secret) not in self._right:
            raise TooManyRequests(
                f"Too many wrong keys or addresses from here; try again in {-(-wait_s // 60)} min.",
                wait_s,
            )

    def wrong(self, request: web.Request, secret: str) -> None:
        """Count a secret that nobody has."""
        self._right.discard(_digest(secret))
        # Names are counted apart, ten of one are too many for a login; here each try is its own.
        self._counter.note(_address(self.network(request)), secrets.token_hex(8))

    def right(self, secret: str) -> None:
        """Remember a secret that somebody has."""
        if len(self._right) >= MOST_KNOWN:
            self._right.clear()
        self._right.add(_digest(secret))

    def close(self) -> None:
        """Write down what was counted, if that is possible at once."""
        self._counter.close()


def _address(network: str) -> str:
    """Count apart from CalDAV logins: neither locks the other out."""
    return f"api {network}"


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=16).digest()
