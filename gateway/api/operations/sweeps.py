"""Erasing what has had its time: remembered answers after a day, holds after they expired, and
how far ahead somebody wanted to look a month after the last one asked."""

import asyncio
from collections.abc import Callable

from gateway.core.errors import StoreError
from gateway.observe import logger
from gateway.store.operations.retention import sweep
from gateway.store.threads import StoreThreads

SWEEP_EVERY_S = 600.0
PAUSE_S = 0.05
"""Between two pieces: others want to write too."""

_log = logger("sweeps")


async def run_sweeps(threads: StoreThreads, clock: Callable[[], float]) -> None:
    """Sweep for ever, a piece at a time; a busy database costs nothing but a later sweep."""
    while True:
        erased = (0, 0, 0)
        try:
            erased = await threads.write_repeatable(sweep, now=int(clock()))
        except StoreError as error:
            _log.warning("not swept", code=error.code)
        await asyncio.sleep(PAUSE_S if any(erased) else SWEEP_EVERY_S)
