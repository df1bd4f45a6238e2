"""Who may be connected, how many at a time, and how long each may take.

aiohttp counts no connections and waits for ever for the rest of a head or body. A guard belongs to
one server: connections enter and leave it, and a few times a second it looks at each. One look over
all of them costs less than a timer set and cancelled for every request.
"""

import asyncio
import resource
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from gateway.core.addresses import network_of
from gateway.settings import Settings

_SPARE_FILES = 512
"""File descriptors left for databases, upstream connections and logs."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Numbers of connections, and seconds."""

    connections: int
    per_address: int
    header_s: float
    body_s: float
    keepalive_s: float
    answer_s: float
    trusted: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        """Return what the settings say, as far as this process may open files."""
        return cls(
            connections=min(settings.api_connections, _files_for(settings.api_connections)),
            per_address=settings.api_connections_per_address,
            header_s=settings.api_header_timeout_s,
            body_s=settings.api_body_timeout_s,
            keepalive_s=settings.api_keepalive_s,
            answer_s=settings.api_answer_timeout_s,
            trusted=frozenset(settings.trusted_proxies),
        )


def _files_for(connections: int) -> int:
    """Raise the limit of open files as far as needed and allowed; return what it leaves for us.

    Without a file descriptor nobody at all is accepted, so the cap must stay below the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft not in (resource.RLIM_INFINITY, -1) and soft < wanted:
        soft = wanted if hard in (resource.RLIM_INFINITY, -1) else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(16, soft - min(_SPARE_FILES, soft // 2))
    return connections


class Guarded(Protocol):
    """A connection as the guard sees it."""

    @property
    def peer(self) -> str:
        """The address of the other end."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request is here and no answer is under way."""
        ...

    def drop(self) -> None:
        """Close it at once."""
        ...

    def look(self, now: float, bounds: Bounds) -> None:
        """Close it if something took too long."""
        ...


class Guard:
    """All connections of one server, each list ordered by the last request, the oldest first."""

    def __init__(self, bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        self.bounds = bounds
        self._loop = loop
        self._all: dict[Guarded, str] = {}
        self._by_network: dict[str, dict[Guarded, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        shortest = min(bounds.header_s, bounds.body_s, bounds.keepalive_s, bounds.answer_s)
        self._every_s = min(1.0, shortest / 4)

    def enter(self, connection: Guarded) -> bool:
        """Take a new connection in; over a bound an idle one leaves for it. False: no room."""
        network = "" if connection.peer in self.bounds.trusted else network_of(connection.peer)
        mine = self._by_network.get(network, {})
        if (network and not self._make_room(mine, self.bounds.per_address)) or not self._make_room(
            self._all, self.bounds.connections
        ):
            return False
        self._all[connection] = network
        self._by_network.setdefault(network, {})[connection] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._every_s, self._look)
        return True

    def touch(self, connection: Guarded) -> None:
        """Note that a request came: of the idle ones this one goes last."""
        network = self._all.pop(connection, None)
        if network is not None:
            self._all[connection] = network
            mine = self._by_network[network]
            del mine[connection]
            mine[connection] = None

    def leave(self, connection: Guarded) -> None:
        """Forget a connection."""
        network = self._all.pop(connection, None)
        if network is None:
            return
        mine = self._by_network[network]
        del mine[connection]
        if not mine:
            del self._by_network[network]

    def _make_room(self, connections: Mapping[Guarded, object], most: int) -> bool:
        """Have fewer than ``most``: the one idle for longest leaves. False when none is idle."""
        if len(connections) < most:
            return True
        oldest = next((one for one in connections if one.is_idle), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.drop()
        return True

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in list(self._all):
            connection.look(now, self.bounds)
        if self._all:
            self._timer = self._loop.call_later(self._every_s, self._look)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
