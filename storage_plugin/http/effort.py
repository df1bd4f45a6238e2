"""A bound on what one request may cost, so that no question holds a thread for minutes.

One object is bounded by the engine; a calendar full of costly ones is bounded here. Whoever counts
effort also lets others compute in between, and ends when the client is gone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from storage_plugin.http.errors import DavError
from storage_plugin.http.gate import Gate

MAX_CPU_S = 10.0
MAX_EXPANDED = 64 * 1024 * 1024
_LOOK_EVERY = 32


class ClientGone(Exception):
    """Nobody listens any more: the client closed its connection."""


class Effort:
    """What a request has left: seconds of this thread's CPU time, and bytes of made data.

    ``is_gone`` tells whether the client hung up; ``gate`` is where others wait meanwhile.
    """

    def __init__(
        self,
        cpu_s: float = MAX_CPU_S,
        expanded: int = MAX_EXPANDED,
        *,
        is_gone: Callable[[], bool] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._until = time.thread_time() + cpu_s
        self._bytes = expanded
        self._is_gone = is_gone
        self._gate = gate
        self._ticks = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for somebody else: others compute meanwhile; raises :class:`ClientGone` before."""
        if self._is_gone is not None and self._is_gone():
            raise ClientGone
        if self._gate is None:
            yield
            return
        with self._gate.outside():
            yield

    def tick(self, made: int = 0) -> None:
        """Count one of many cheap steps and ``made`` bytes; every few of them are a check."""
        self._bytes -= made
        self._ticks += 1
        if self._ticks % _LOOK_EVERY == 0 or self._bytes < 0:
            self.check()

    def check(self, expanded: int = 0) -> None:
        """Count ``expanded`` bytes; raises 507 when the request has cost enough (RFC 4791 7.8).

        Raises :class:`ClientGone` when nobody waits for the answer. Never call it in a write unit:
        other requests compute before it returns.
        """
        self._bytes -= expanded
        if self._is_gone is not None and self._is_gone():
            raise ClientGone
        if self._gate is not None:
            self._gate.checkpoint()
        if self._bytes < 0 or time.thread_time() > self._until:
            raise DavError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                "<number-of-matches-within-limits/>",
                "This question costs too much; ask for a shorter time or fewer events.",
            )
