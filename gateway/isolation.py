"""Loops over many that one bad item cannot stop: it is told, it backs off, the others go on (R45).

Every loop over rows that people or servers fill goes through here: accounts, people, messages,
members of a calendar. What fails is remembered in memory only. What must survive a restart (the
back-off of an account, a parked push) is written by whoever runs the item.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.errors import GatewayError, StoreBusy, StoreFull
from gateway.observe import logger, metrics

T = TypeVar("T")

EVERYBODYS = (StoreBusy, StoreFull)
"""What is no single item's fault: the database is locked, away or full."""

FIRST_REST_S = 5.0
LONGEST_REST_S = 900.0

_log = logger("isolation")


@dataclass
class _Failing:
    """An item that failed: how often in a row, by what, and when it is tried again."""

    times: int
    kind: str
    until: float


class Isolation:
    """The items of one loop; ``name`` stands in log lines and metrics, ``clock`` gives seconds."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._failing: dict[str, _Failing] = {}

    @property
    def resting(self) -> frozenset[str]:
        """The items that failed and are not to be tried yet."""
        now = self._clock()
        return frozenset(item for item, how in self._failing.items() if how.until > now)

    async def run(self, item: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """Await ``work()``; None when it failed, which is told. Everybody's trouble is raised."""
        try:
            done = await work()
        except EVERYBODYS:
            raise
        except Exception as error:
            self.failed(item, error)
            return None
        self.succeeded(item)
        return done

    def failed(self, item: str, error: Exception) -> None:
        """Tell that an item failed and let it rest, longer each time; a traceback comes once."""
        kind = error.code if isinstance(error, GatewayError) else type(error).__name__
        before = self._failing.get(item)
        times = before.times + 1 if before is not None else 1
        rest_s = min(FIRST_REST_S * 2.0 ** min(times - 1, 20), LONGEST_REST_S)
        self._failing[item] = _Failing(times, kind, self._clock() + rest_s)
        self._count(error)
        is_new = before is None or before.kind != kind
        tell = _log.exception if is_new and not isinstance(error, GatewayError) else _log.warning
        tell("item failed", loop=self.name, item=item, code=kind, times=times, rest_s=rest_s)

    def succeeded(self, item: str) -> None:
        """Forget that an item failed."""
        if self._failing.pop(item, None) is not None:
            metrics().failing.labels(self.name).set(len(self._failing))
            _log.info("item works again", loop=self.name, item=item)

    def _count(self, error: Exception) -> None:
        metrics().failures.labels(self.name, getattr(error, "code", "internal-error")).inc()
        metrics().failing.labels(self.name).set(len(self._failing))


async def kept_alive(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Await ``work()``, which is a loop of its own, and begin it anew whenever it breaks."""
    itself = Isolation(name)
    while True:
        try:
            return await work()
        except Exception as error:
            itself.failed(name, error)
            await asyncio.sleep(FIRST_REST_S)


async def keep_going(
    name: str, step: Callable[[], Awaitable[float]], *, stop: asyncio.Event | None = None
) -> None:
    """Call ``step`` for ever, or until ``stop``; it returns the seconds to wait before the next.

    Whatever it raises is told and the loop goes on, at a slower pace while it lasts.
    """
    itself = Isolation(name)
    stop = stop or asyncio.Event()
    while not stop.is_set():
        try:
            wait_s = await step()
            itself.succeeded(name)
        except Exception as error:
            itself.failed(name, error)
            wait_s = FIRST_REST_S
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
