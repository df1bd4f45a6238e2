"""How late an event loop is: a task that wants to go on every few milliseconds.

Left out of a delay is the time its thread stood in the queue for a processor (``schedstat``, Linux
only): that is the machine's load, not ours. What remains is what our own work did to the loop:
callbacks before it in line, and waiting for the interpreter while another thread holds it.
"""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

BEAT_S = 0.005
_QUEUED = Path("/proc/thread-self/schedstat")


class Heartbeat:
    """Beats on the running loop between :meth:`start` and :meth:`stop`."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "Heartbeat":
        """Begin to beat."""
        self._task = asyncio.create_task(self._beat())
        return self

    async def stop(self) -> None:
        """Stop beating."""
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def percentile(self, share: float) -> float:
        """Return the delay in seconds that this share of the beats stayed below."""
        ordered = sorted(self.delays)
        return ordered[int(len(ordered) * share)]

    async def _beat(self) -> None:
        while True:
            due, queued = time.perf_counter() + BEAT_S, _queued_s()
            await asyncio.sleep(BEAT_S)
            self.delays.append(time.perf_counter() - due - (_queued_s() - queued))


def _queued_s() -> float:
    """Seconds this thread has waited for a processor so far."""
    return int(_QUEUED.read_bytes().split()[1]) / 1e9
