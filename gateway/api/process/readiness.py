"""Whether requests can be answered: looked at once a second at most, whoever asks how often."""

import asyncio
import time
from collections.abc import Callable

from gateway.core.errors import GatewayError, StoreBusy

FRESH_S = 1.0
WITHIN_S = 5.0


class Readiness:
    """Asks ``look`` in a thread, one at a time; all who ask meanwhile share the answer.

    ``look`` returns what is wrong, or None. Belongs to one event loop.
    """

    def __init__(self, look: Callable[[], GatewayError | None]) -> None:
        self._look = look
        self._running: asyncio.Task[GatewayError | None] | None = None
        self._until = float("-inf")

    async def __call__(self) -> GatewayError | None:
        """Return what was found within the last second; raises what looking raised.

        Raises :class:`StoreBusy` when the database does not answer in time.
        """
        running = self._running
        if running is None or (running.done() and time.monotonic() >= self._until):
            running = self._running = asyncio.create_task(self._find())
        try:
            return await asyncio.wait_for(asyncio.shield(running), WITHIN_S)
        except TimeoutError:
            raise StoreBusy("The database does not answer.") from None

    async def _find(self) -> GatewayError | None:
        try:
            return await asyncio.to_thread(self._look)
        finally:
            self._until = time.monotonic() + FRESH_S
