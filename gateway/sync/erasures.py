"""Erasing what was hidden, piece by piece, beside everything else a worker does.

After each piece as much time passes as it took: whoever wants to write gets at least half of it.
Any number of processes may do this at once; what one has erased the others do not find.
"""

import time
from functools import partial

from gateway.store.operations import erasing
from gateway.store.operations.erasing import Target
from gateway.sync.context import SyncContext

LOOK_EVERY_S = 5.0
"""How often is looked for something to erase when there was nothing."""


async def erase_next(context: SyncContext) -> float:
    """Erase one piece; returns the seconds to wait before the next one.

    What cannot be erased rests and keeps nothing else here.
    """
    target = await context.store.read(erasing.next_target, but=context.erasures.resting)
    if target is None:
        return LOOK_EVERY_S
    began = time.monotonic()
    await context.erasures.run(target.id, partial(_erase, context, target))
    return time.monotonic() - began


async def _erase(context: SyncContext, target: Target) -> None:
    if not await context.store.write_repeatable(erasing.erase_piece, target):
        raise RuntimeError("its parts cannot be erased")
