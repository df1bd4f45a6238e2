"""Counts failed tries in memory at once, and shares them through the database when it can.

A wrong password must never wait for a database that is locked, and guessing must be throttled just
then too. So what failed in this process counts here from the first moment; a thread of its own
writes it down, trying shortly and again later, and reads what all processes together counted.
"""

import threading
import time
from collections.abc import Callable, Mapping

from gateway.core.errors import StoreError
from gateway.store.access.login_failures import (
    PER_ADDRESS,
    PER_NAME,
    WINDOW_S,
    Failure,
    blocked_keys,
    keys_of,
    note_failures,
)
from gateway.store.engine import Database

WAIT_MS = 50
RETRY_S = 1.0
MOST_KEYS = 50_000
MOST_WAITING = 10_000
"""Beyond these the oldest are forgotten: a flood from everywhere cannot fill the memory."""


class FailureCounter:
    """Knows who failed too often; one per process, safe to use from any thread.

    ``clock`` returns UTC epoch seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._own: dict[bytes, list[int]] = {}
        self._waiting: list[Failure] = []
        self._blocked: Mapping[bytes, int] = {}
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, address: str, name: str, *, at_once: bool = False) -> None:
        """Count one failure of ``name`` at ``address``; never fails.

        With ``at_once`` it is tried here to write it down, for :data:`WAIT_MS` at most and only
        if nothing waits already; then other processes know before the caller goes on.
        """
        now = int(self._clock())
        keys = keys_of(address, name)
        with self._lock:
            for key in keys:
                times = [at for at in self._own.pop(key, ()) if at > now - WINDOW_S]
                self._own[key] = [*times[1 - PER_ADDRESS :], now]
            while len(self._own) > MOST_KEYS:
                del self._own[next(iter(self._own))]
            self._waiting.append((now, *keys))
            del self._waiting[:-MOST_WAITING]
            is_first = len(self._waiting) == 1
        if at_once and is_first and self.flush():
            return
        with self._lock:
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, name="failed-logins", daemon=True)
                self._thread.start()
        self._wake.set()

    def knows_any(self) -> bool:
        """Tell whether anybody failed of late; False answers :meth:`wait_s` for everybody."""
        return bool(self._own or self._blocked)

    def wait_s(self, address: str, name: str) -> int:
        """Return for how many seconds this address may not try (this name) again; 0: it may."""
        address_key, name_key = keys_of(address, name)
        now = int(self._clock())
        with self._lock:
            ends = max(
                self._own_end(address_key, PER_ADDRESS, now),
                self._own_end(name_key, PER_NAME, now),
                self._blocked.get(address_key, 0),
                self._blocked.get(name_key, 0),
            )
        return max(0, ends - now)

    def _own_end(self, key: bytes, most: int, now: int) -> int:
        times = [at for at in self._own.get(key, ()) if at > now - WINDOW_S]
        return times[0] + WINDOW_S if len(times) >= most else 0

    def read(self) -> None:
        """Learn what all processes counted; without a database what is known stands."""
        try:
            with self._database.read() as session:
                self._blocked = blocked_keys(session, now=int(self._clock()))
        except StoreError:
            return

    def flush(self) -> bool:
        """Write down what waits, if that is possible at once; says whether nothing waits now."""
        with self._flushing:
            with self._lock:
                failures = list(self._waiting)
            if not failures:
                return True
            try:
                with self._database.write(wait_ms=WAIT_MS, repeatable=True) as session:
                    note_failures(session, failures, now=int(self._clock()))
            except StoreError:
                return False
            written = set(map(id, failures))
            with self._lock:
                self._waiting = [one for one in self._waiting if id(one) not in written]
        return True

    def close(self) -> None:
        """Write the rest down if that is possible at once, and stop."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._wake.clear()
            while not self.flush() and not self._ending.wait(RETRY_S):
                self.read()
            self.read()
