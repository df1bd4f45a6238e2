"""How many requests a caller may send: counted in memory, shared between processes each second.

Minutes are counted from the clock's own, for every API key and every public address alone. The
fields are those of draft-ietf-httpapi-ratelimit-headers-10: ``RateLimit-Policy`` says the quota,
``RateLimit`` what is left of it and for how many seconds.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.errors import StoreError, TooManyRequests
from gateway.observe import logger
from gateway.store.access.rate_counts import add_counts
from gateway.store.threads import StoreThreads

WINDOW_S = 60
SHARE_EVERY_S = 1.0
MAX_CALLERS = 100_000
"""So many are counted apart within a minute; whoever comes later shares one count.

Anybody can make public addresses up, so these are counted apart from keys.
"""

_log = logger("limits")


def name_public(token: str) -> str:
    """Name whoever asks at a public address, without keeping the address."""
    return f"public {hashlib.blake2b(token.encode(), digest_size=16).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Unshared:
    """Requests of the running minute that the other processes do not know of yet."""

    window: int
    counts: Mapping[str, int]


class Limits:
    """Counts requests; ``quota`` is how many a caller may send a minute, 0 any number."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self.policy = f'"minute";q={quota};w={WINDOW_S}'
        self._window = 0
        self._begins = self._ends = 0
        self._used: dict[str, int] = {}
        self._shared: dict[str, int] = {}

    def take(self, caller: str, now: float) -> str:
        """Count one request at ``now`` (epoch seconds); returns the ``RateLimit`` field.

        Raises :class:`TooManyRequests` beyond the quota; what is refused does not count.
        """
        if not self._begins <= now < self._ends:
            self._turn(now)
        used = self._used.get(caller)
        if used is None:
            if len(self._used) >= MAX_CALLERS:
                caller = "the rest"
            used = self._used.get(caller, 0)
        left = self.quota - used - 1
        if left < 0:
            raise TooManyRequests(
                f"More than {self.quota} requests in one minute.", self._ends - now
            )
        self._used[caller] = used + 1
        return f'"minute";r={left};t={self._ends - int(now)}'

    def _turn(self, now: float) -> None:
        self._window = int(now // WINDOW_S)
        self._begins = self._window * WINDOW_S
        self._ends = self._begins + WINDOW_S
        self._used, self._shared = {}, {}

    def unshared(self) -> Unshared:
        """Return what was counted here since the last :meth:`learn`; a small rest is kept back.

        So whoever guesses addresses, each one once, writes nothing into the database.
        """
        shared, worth_telling = self._shared, max(1, self.quota // 100)
        counts = {
            caller: used - shared.get(caller, 0)
            for caller, used in self._used.items()
            if used - shared.get(caller, 0) >= worth_telling
        }
        return Unshared(self._window, counts)

    def learn(self, told: Unshared, totals: Mapping[str, int]) -> None:
        """Take over what all processes together counted, ``told`` of ours included.

        What was counted meanwhile stays on top; a minute that is over is not looked at.
        """
        if told.window != self._window:
            return
        for caller, total in totals.items():
            meanwhile = (
                self._used.get(caller, 0) - self._shared.get(caller, 0) - told.counts[caller]
            )
            self._used[caller] = total + meanwhile
            self._shared[caller] = total


async def share(limits: Limits, threads: StoreThreads, clock: Callable[[], float]) -> None:
    """Share the counts for ever; a busy database costs nothing but a later look."""
    while limits.quota:
        await asyncio.sleep(SHARE_EVERY_S)
        told = limits.unshared()
        if not told.counts or told.window != int(clock() // WINDOW_S):
            continue
        try:
            totals = await threads.write_repeatable(add_counts, told.window, told.counts)
        except StoreError as error:
            _log.warning("request counts not shared", code=error.code)
        else:
            limits.learn(told, totals)
