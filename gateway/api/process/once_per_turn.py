"""Once per turn of the event loop: what all requests that arrived together may share.

A request that is handled in one turn of the loop was received before that turn began. What is
looked up during the turn is therefore as true for it as if it had looked itself; in the next
turn somebody looks again.
"""

import asyncio
from collections.abc import Callable


class OncePerTurn:
    """Calls ``look`` at most once in each turn of the running loop."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._looked = False

    def __call__(self) -> None:
        """Look, unless somebody did in this turn."""
        if self._looked:
            return
        self._look()
        self._looked = True
        asyncio.get_running_loop().call_soon(self._forget)

    def _forget(self) -> None:
        self._looked = False
