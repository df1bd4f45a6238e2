"""Who is being looked at: accounts viewed or booked lately are polled more often.

Handlers only note a principal in memory; a background task writes the notes every few seconds.
"""

import asyncio
from collections.abc import Callable

from gateway.core.errors import StoreError
from gateway.observe import logger
from gateway.settings import Settings
from gateway.store.leases import note_active
from gateway.store.threads import StoreThreads

FLUSH_EVERY_S = 5.0
ACTIVE_FOR_S = 900
_log = logger("activity")


class Activity:
    """Collects the principals asked about; ``run`` tells the database now and then."""

    def __init__(
        self, settings: Settings, threads: StoreThreads, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._clock = clock
        self._seen: set[str] = set()

    def note(self, principal_id: str) -> None:
        """Remember that somebody looks at this principal."""
        self._seen.add(principal_id)

    async def flush(self) -> None:
        """Write what was noted; an account that would wait longer is due soon."""
        seen, self._seen = self._seen, set()
        if seen:
            now = self._clock()
            await self._threads.write(
                note_active,
                sorted(seen),
                until=int(now) + ACTIVE_FOR_S,
                due_at=now + self._settings.poll_active_s,
            )

    async def run(self) -> None:
        """Flush for ever; a busy database costs nothing but a later note."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self.flush()
            except StoreError as error:
                _log.warning("activity not noted", code=error.code)
