"""Erasing what was hidden, piece by piece, beside everything else a worker does.

After each piece as much time passes as it took: whoever wants to write gets at least half of it.
Any number of processes may do this at once; what one has erased the others do not find.
"""

import asyncio
import time
from contextlib import suppress

from gateway.core.errors import GatewayError
from gateway.observe import logger
from gateway.store import erasing
from gateway.store.erasing import Target
from gateway.sync.context import SyncContext

LOOK_EVERY_S = 5.0
"""How often is looked for something to erase when there was nothing."""

_log = logger("erasures")


async def run_erasures(context: SyncContext, stop: asyncio.Event) -> None:
    """Erase until told to stop."""
    while not stop.is_set():
        await erase_all(context, stop)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)


async def erase_all(context: SyncContext, stop: asyncio.Event) -> None:
    """Erase what is hidden now; what cannot be erased is told and left for the next time."""
    waiting = set[Target]()
    while not stop.is_set():
        target = None
        try:
            target = await context.store.read(erasing.next_target, but=waiting)
            if target is None:
                return
            began = time.monotonic()
            if not await context.store.write(erasing.erase_piece, target):
                waiting.add(target)
            await asyncio.sleep(time.monotonic() - began)
        except GatewayError as error:
            _log.warning("not erased", target=target and target.id, code=error.code)
            return
        except Exception:
            _log.exception("not erased", target=target and target.id)
            if target is None:
                return
            waiting.add(target)
