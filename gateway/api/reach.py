"""Questions beyond the rolling window wait a moment until the objects are expanded that far.

The expansion goes on when the moment is over: the next question finds it done. Meanwhile that part
of the time is unknown (``beyond-window``), never free.
"""

import asyncio
from collections.abc import Sequence

from gateway.api.ports import SyncService
from gateway.core.errors import GatewayError
from gateway.core.instances import default_window
from gateway.observe import logger
from gateway.store.expansions import short_of
from gateway.store.threads import StoreThreads

WAIT_S = 1.0
AT_ONCE = 2
DAY_S = 86_400
AHEAD_S = 31 * DAY_S
"""Expanded beyond what was asked, so that the next page of a calendar need not wait."""

_log = logger("reach")


def is_beyond(end: int, now: int) -> bool:
    """Whether a time lies beyond what is expanded of everybody: windows move through the day."""
    return end > default_window(now - DAY_S)[1]


class Reach:
    """Has people's objects expanded further on demand, each person's once at a time."""

    def __init__(self, sync: SyncService | None, threads: StoreThreads) -> None:
        self._sync = sync
        self._threads = threads
        self._running: dict[str, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def until(
        self, principal_ids: Sequence[str], end: int, *, now: int, subaccount_id: str | None
    ) -> None:
        """Wait at most a second until everything of these people is expanded up to ``end``.

        Those of another subaccount are left alone. Within the rolling window this returns at once.
        """
        if self._sync is None or not is_beyond(end, now):
            return
        short = await self._threads.read(
            short_of, principal_ids, until=end, subaccount_id=subaccount_id
        )
        if short:
            far = end - end % DAY_S + AHEAD_S
            await asyncio.wait([self._start(one, far) for one in short], timeout=WAIT_S)

    async def renew(self, principal_id: str, *, now: int) -> None:
        """Wait at most a second until a person is expanded anew whose zone or rules changed.

        Until it is done, here or in a worker, the person's time is unknown; nobody is kept waiting.
        """
        end = default_window(now)[1]
        if self._sync is None:
            return
        short = await self._threads.read(short_of, [principal_id], until=end, subaccount_id=None)
        if short:
            await asyncio.wait([self._start(principal_id, end)], timeout=WAIT_S)

    def _start(self, principal_id: str, end: int) -> "asyncio.Task[None]":
        task = self._running.get(principal_id)
        if task is None:
            task = asyncio.create_task(self._extend(principal_id, end), name="extend window")
            self._running[principal_id] = task
            task.add_done_callback(lambda _: self._running.pop(principal_id, None))
        return task

    async def _extend(self, principal_id: str, end: int) -> None:
        assert self._sync is not None
        try:
            async with self._gate:
                await self._sync.extend_window(principal_id, end)
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
