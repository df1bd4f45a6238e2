"""Who is being looked at, and by whom: accounts viewed or booked lately are polled more often.

Handlers only note principals and keys in memory; a background task writes the notes every few
seconds.
"""

import asyncio
from collections.abc import Callable

from gateway.core.errors import StoreError
from gateway.observe import logger
from gateway.settings import Settings
from gateway.store.access.keys import ApiKey, note_keys_used
from gateway.store.accounts.leases import note_active
from gateway.store.threads import StoreThreads

FLUSH_EVERY_S = 5.0
ACTIVE_FOR_S = 900
KEY_SEEN_EVERY_S = 900
_log = logger("activity")


class Activity:
    """Collects principals asked about and keys used; ``run`` tells the database now and then."""

    def __init__(
        self, settings: Settings, threads: StoreThreads, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._clock = clock
        self._seen: set[str] = set()
        self._keys: dict[str, int] = {}
        self._new_keys: set[str] = set()

    def note(self, principal_id: str) -> None:
        """Remember that somebody looks at this principal."""
        self._seen.add(principal_id)

    def note_key(self, key: ApiKey) -> None:
        """Remember that a key was used, to the accuracy of some minutes."""
        now = int(self._clock())
        if now - max(key.last_used_at or 0, self._keys.get(key.id, 0)) >= KEY_SEEN_EVERY_S:
            self._keys[key.id] = now
            self._new_keys.add(key.id)

    async def flush(self) -> None:
        """Write what was noted; an account that would wait longer is due soon."""
        used, self._new_keys = self._new_keys, set()
        if used:
            await self._threads.write_repeatable(
                note_keys_used, sorted(used), now=int(self._clock())
            )
        seen, self._seen = self._seen, set()
        if seen:
            now = self._clock()
            await self._threads.write_repeatable(
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
