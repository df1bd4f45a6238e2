"""Questions beyond the rolling window wait a moment until the objects are expanded that far.

The expansion goes on when the moment is over: the next question finds it done. Meanwhile that part
of the time is unknown (``beyond-window``), never free.
"""

import asyncio
from collections.abc import Sequence

from gateway.api.process.ports import SyncService
from gateway.core.errors import GatewayError
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import default_window
from gateway.observe import logger
from gateway.store.objects.expansions import short_of
from gateway.store.objects.horizons import FARTHEST_S, is_beyond, with_margin
from gateway.store.threads import StoreThreads

WAIT_S = 1.0
AT_ONCE = 2

_log = logger("reach")


class BeyondWindow:
    """Has people's objects expanded further on demand, each person's once at a time."""

    def __init__(self, sync: SyncService | None, threads: StoreThreads) -> None:
        self._sync = sync
        self._threads = threads
        self._running: dict[str, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def until(
        self,
        principal_ids: Sequence[str],
        window: Interval,
        *,
        now: int,
        subaccount_id: str | None,
    ) -> None:
        """Wait at most a second until everything of these people is expanded over ``window``.

        Those of another subaccount are left alone. Within the rolling window this returns at once.
        """
        if self._sync is None or not is_beyond(window, now):
            return
        asked = max(window[0], now - FARTHEST_S), min(window[1], now + FARTHEST_S)
        short = await self._threads.read(
            short_of, principal_ids, asked, subaccount_id=subaccount_id
        )
        if short:
            far = with_margin(asked, now)
            await asyncio.wait([self._start(one, far) for one in short], timeout=WAIT_S)

    async def renew(self, principal_id: str, *, now: int) -> None:
        """Wait at most a second until a person is expanded anew whose zone or rules changed.

        Until it is done, here or in a worker, the person's time is unknown; nobody is kept waiting.
        """
        window = default_window(now)
        if self._sync is None:
            return
        short = await self._threads.read(short_of, [principal_id], window, subaccount_id=None)
        if short:
            await asyncio.wait([self._start(principal_id, window)], timeout=WAIT_S)

    def _start(self, principal_id: str, window: Interval) -> "asyncio.Task[None]":
        task = self._running.get(principal_id)
        if task is None:
            task = asyncio.create_task(self._extend(principal_id, window), name="extend window")
            self._running[principal_id] = task
            task.add_done_callback(lambda _: self._running.pop(principal_id, None))
        return task

    async def _extend(self, principal_id: str, window: Interval) -> None:
        assert self._sync is not None
        try:
            async with self._gate:
                await self._sync.extend_window(principal_id, window)
        except GatewayError as error:
            _log.warning("window not extended", principal=principal_id, code=error.code)
        except Exception:
            _log.exception("window not extended", principal=principal_id)

    async def close(self) -> None:
        """Stop what is still running."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
