"""A bound on what one report may cost, so that no question holds a thread for minutes.

One object is bounded by the engine; a calendar full of costly ones is bounded here.
"""

import time
from http import HTTPStatus

from storage_plugin.errors import DavError

MAX_CPU_S = 10.0
MAX_EXPANDED = 64 * 1024 * 1024


class Effort:
    """What a report has left: seconds of this thread's CPU time, and bytes of expanded data."""

    def __init__(self, cpu_s: float = MAX_CPU_S, expanded: int = MAX_EXPANDED) -> None:
        self._until = time.thread_time() + cpu_s
        self._bytes = expanded

    def check(self, expanded: int = 0) -> None:
        """Count ``expanded`` bytes; raises 507 when the report has cost enough (RFC 4791 7.8)."""
        self._bytes -= expanded
        if self._bytes < 0 or time.thread_time() > self._until:
            raise DavError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                "<number-of-matches-within-limits/>",
                "This question costs too much; ask for a shorter time or fewer events.",
            )
