"""One request computes at a time in a process: threads that compute together slow each other down.

They share one interpreter, and SQLite lets go of it at each row: with eight requests at once each
costs twice as much as alone. So a request takes the gate before it computes, leaves it while it
waits for the database, and lets others in between when it takes long. Reading requests and sending
answers happens outside, so slow clients hold nobody up.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

SLICE_S = 0.005
"""After this long a request that is asked (:meth:`Gate.checkpoint`) lets those in who wait."""
OVERTAKE_S = 0.1
"""After this long the next one goes in beside a request that was not asked meanwhile."""
PATIENCE_S = 0.5
"""A long one that has let others in for so long goes before those who begin."""


class _Turn:
    """One request: waiting, inside, or outside again."""

    __slots__ = ("awake", "inside", "since", "waits_since")

    def __init__(self) -> None:
        self.awake = threading.Lock()
        self.awake.acquire()
        self.inside = False
        self.since = 0.0
        self.waits_since = 0.0


class Gate:
    """Lets one thread in at a time, in the order they came.

    Those who come back from waiting go first, those who let others in last.
    """

    def __init__(self, *, slice_s: float = SLICE_S, overtake_s: float = OVERTAKE_S) -> None:
        self._slice_s = slice_s
        self._overtake_s = overtake_s
        self._lock = threading.Lock()
        self._returning: deque[_Turn] = deque()
        self._beginning: deque[_Turn] = deque()
        self._long: deque[_Turn] = deque()
        self._inside: _Turn | None = None
        self._own = threading.local()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Compute inside; waits until it is this thread's turn."""
        turn = _Turn()
        self._enter(turn, self._beginning)
        self._own.turn = turn
        try:
            yield
        finally:
            self._own.turn = None
            self._leave(turn)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Wait for something without holding the gate; does nothing for whom is not inside.

        Who comes back may hold a lock of the database, and so goes before those who have not begun.
        """
        turn: _Turn | None = getattr(self._own, "turn", None)
        if turn is None or not turn.inside:
            yield
            return
        self._leave(turn)
        try:
            yield
        finally:
            self._enter(turn, self._returning)

    def checkpoint(self) -> None:
        """Let others in when this request has been inside for long; never call with locks held."""
        turn: _Turn | None = getattr(self._own, "turn", None)
        if turn is None:
            return
        nobody_waits = not (self._beginning or self._returning or self._long)
        if turn.inside and (nobody_waits or time.monotonic() - turn.since < self._slice_s):
            return
        self._leave(turn)
        self._enter(turn, self._long)

    def _enter(self, turn: _Turn, queue: deque[_Turn]) -> None:
        with self._lock:
            if self._inside is None:
                self._let_in(turn)
                return
            turn.waits_since = time.monotonic()
            queue.append(turn)
        while not turn.awake.acquire(timeout=self._overtake_s):
            self._overtake(turn)

    def _overtake(self, turn: _Turn) -> None:
        """Go in beside one that has been inside for long without letting anybody in."""
        with self._lock:
            slow = self._inside
            queue = self._next()
            is_next = bool(queue) and queue[0] is turn
            if not is_next or slow is None or time.monotonic() - slow.since < self._overtake_s:
                return
            slow.inside = False  # it computes on beside us, until it is asked
            queue.popleft()
            self._let_in(turn)
            turn.awake.release()  # taken by the loop that called us

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            if not turn.inside:
                return
            turn.inside = False
            self._inside = None
            queue = self._next()
            if queue:
                following = queue.popleft()
                self._let_in(following)
                following.awake.release()

    def _next(self) -> deque[_Turn]:
        """Return the queue whose first one is the next."""
        late = time.monotonic() - PATIENCE_S
        if self._long and self._long[0].waits_since < late and not self._returning:
            return self._long
        return self._returning or self._beginning or self._long

    def _let_in(self, turn: _Turn) -> None:
        turn.inside = True
        turn.since = time.monotonic()
        self._inside = turn
