"""How this program starts processes of its own: from a safe path, their last words kept.

``python -c`` looks for modules in the current directory first: a ``secrets.py`` lying there would
run as the gateway, with its key. ``-P`` takes that away (``PYTHONPATH`` still counts).
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

KEPT_LINES = 12
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
LONG_LIFE_S = 60.0
"""Who lived this long did not keep dying."""
MOST_DEATHS = 6


def own_python(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a line of Python of ours in a process of its own."""
    return [sys.executable, "-P", "-c", program, *arguments]


class LastLines:
    """Passes on what a process says on standard error, and keeps the last lines of it.

    Hand :attr:`pipe` to the process and call :meth:`started` once it runs. A thread reads, so that
    a busy parent never stops a child in the middle of a log line.
    """

    def __init__(self) -> None:
        self._read_end, self.pipe = os.pipe()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._thread = threading.Thread(target=self._pass_on, name="child-stderr", daemon=True)

    def started(self) -> None:
        """Let go of the process's end of the pipe and begin to read."""
        os.close(self.pipe)
        self._thread.start()

    def text(self) -> str:
        """Return the last lines; waits a moment for those of a process that just ended."""
        self._thread.join(timeout=1.0)
        return "\n".join(self._lines)

    def _pass_on(self) -> None:
        with os.fdopen(self._read_end, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._lines.append(line.rstrip("\n"))
                sys.stderr.write(line)
                sys.stderr.flush()


class Deaths:
    """Whether, and after how long, a process that ended is to be started again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self.count = 0

    def lives(self) -> None:
        """Note that it was started just now."""
        self._since = self._clock()

    def lives_since(self, moment: float) -> None:
        """Note that it was started at a moment of the clock."""
        self._since = moment

    def pause_s(self) -> float | None:
        """Note that it ended or did not start; seconds to wait, None when it died too often."""
        if self._since is not None and self._clock() - self._since >= LONG_LIFE_S:
            self.count = 0
        self._since = None  # until it lives again: a start that fails slowly is no long life
        self.count += 1
        if self.count >= MOST_DEATHS:
            return None
        return min(FIRST_PAUSE_S * 3.0 ** (self.count - 1), LONGEST_PAUSE_S)


def ended_how(status: int | None) -> str:
    """Say how a process ended, by its return code as :mod:`subprocess` gives it."""
    if status is None:
        return "it did not answer in time"
    return f"signal {-status}" if status < 0 else f"exit code {status}"
