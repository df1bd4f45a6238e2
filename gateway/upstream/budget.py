"""What one account may ask of iCloud, over all processes: so many requests a minute, few at a time.

The requests of the last minute are counted by second. They go from one process to the next with the
account's lease (:meth:`RequestBudget.dump`, ``restore``), so any number of processes have one
budget together; who asks without the lease has none.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.settings import Settings

WINDOW_S = 60
REPORT_EVERY = 10
"""So many requests at most are known to nobody but this process: what a dead one is charged."""

_LONGEST_WAIT_S = 2.0
_READERS_SHARE = 4


class RequestBudget:
    """The budget of one account in this process; kept across clients.

    ``clock`` gives UTC epoch seconds. ``report`` is called when there is something to tell other
    processes; its holder sets it for as long as it has the lease.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.limit = settings.upstream_requests_per_minute
        self._parallel = asyncio.Semaphore(settings.upstream_parallel)
        self.report: Callable[[], Awaitable[None]] | None = None
        self._clock = clock
        self._counts: dict[int, int] = {}
        self._unreported = 0

    @asynccontextmanager
    async def request(self, *, spare: bool = False) -> AsyncIterator[None]:
        """Make one request inside, once it is allowed; see :meth:`take`."""
        async with self._parallel:
            await self.take(spare=spare)
            yield

    async def take(self, *, spare: bool = False) -> None:
        """Wait until one more request is allowed, and count it.

        ``spare`` leaves a quarter of the minute to others: pushes leave it to whoever reads.
        """
        limit = self.limit - (self.limit // _READERS_SHARE if spare else 0)
        while True:
            wait_s = self._wait_s(max(limit, 1))
            if wait_s <= 0:
                break
            await asyncio.sleep(min(wait_s, _LONGEST_WAIT_S))
        second = int(self._clock())
        self._counts[second] = self._counts.get(second, 0) + 1
        self._unreported += 1
        if self._unreported >= REPORT_EVERY and self.report is not None:
            self._unreported = 0
            await self.report()

    def _wait_s(self, limit: int) -> float:
        """Return how long until fewer than ``limit`` requests lie in the last minute."""
        now = self._clock()
        self._forget(now)
        over = sum(self._counts.values()) - limit
        for second in sorted(self._counts):
            if over < 0:
                break
            over -= self._counts[second]
            if over < 0:
                return second + 1 + WINDOW_S - now
        return 0.0

    def _forget(self, now: float) -> None:
        # A request of a second may have been made at its very end.
        for second in [one for one in self._counts if one + 1 + WINDOW_S <= now]:
            del self._counts[second]

    def dump(self) -> str:
        """Return the requests of the last minute as ``second:count``, blanks between."""
        self._forget(self._clock())
        self._unreported = 0
        return " ".join(f"{second}:{count}" for second, count in self._counts.items())

    def restore(self, text: str | None) -> None:
        """Take in what others asked: the text of a :meth:`dump`, ours may be part of it."""
        theirs: dict[int, int] = {}
        for item in (text or "").split():
            second, _, count = item.partition(":")
            if second.isdigit() and count.isdigit():
                theirs[int(second)] = theirs.get(int(second), 0) + int(count)
        for one, number in theirs.items():
            self._counts[one] = max(self._counts.get(one, 0), number)
