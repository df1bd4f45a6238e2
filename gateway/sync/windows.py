"""Moving the window on: objects that reach beyond what was expanded are expanded further.

The heavy half runs in the worker process; a unit writes one batch. Any number of processes may do
this at once: doing it twice changes nothing.
"""

import asyncio
import time
from functools import partial

from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import Expansion, default_window
from gateway.expansion.prepare import unknown_expansion
from gateway.services.expansions import (
    finish_extension,
    load_outdated,
    load_rules,
    rules_of,
    write_extended,
)
from gateway.store.objects import expansions, horizons
from gateway.store.objects.expansions import Outdated
from gateway.sync.context import SyncContext

BATCH = 100
DAY_S = 86_400
PRINCIPALS_AT_ONCE = 20
YIELDED = 3
"""How many times as long as one principal takes is left to others before the next."""


async def extend_windows(context: SyncContext, *, limit: int = PRINCIPALS_AT_ONCE) -> int:
    """Extend some principals whose window ends too early; returns how many were brought up.

    Each has a time of day of its own, and after each the process is left to others for a while:
    with all of them at midnight it would be busy for minutes, and every timeline cold.
    """
    now = context.now()
    due = await context.store.read(
        expansions.outdated_principals,
        until=default_window(now)[1],
        by_now=now % DAY_S / DAY_S,
        limit=limit,
        without=context.people.resting,
    )
    done = 0
    for principal_id in due:
        began = time.monotonic()
        extending = partial(extend_wanted, context, principal_id)
        done += bool(await context.people.run(principal_id, extending))
        await asyncio.sleep(YIELDED * (time.monotonic() - began))
    return done


async def extend_until(context: SyncContext, principal_id: str, wanted: Interval) -> bool:
    """Expand a principal's objects beyond the rolling window, because somebody asked.

    It stays so for others: what is written later is expanded as far, too.
    """
    if horizons.is_beyond(wanted, context.now()):
        await context.store.write_repeatable(
            horizons.ask_horizon, [principal_id], wanted, now=context.now()
        )
    return await extend_wanted(context, principal_id)


async def extend_wanted(context: SyncContext, principal_id: str) -> bool:
    """Expand a principal's objects as far as is wanted: the rolling window, or more."""
    window = await context.store.read(horizons.window_of, principal_id, now=context.now())
    return await extend_principal(context, principal_id, window)


async def extend_asked(context: SyncContext, *, limit: int = PRINCIPALS_AT_ONCE) -> int:
    """Expand what somebody asked for in a CalDAV process; returns how many were brought up."""
    asked = await context.store.read(horizons.asked_but_unknown, now=context.now(), limit=limit)
    done = 0
    for principal_id in asked:
        if principal_id not in context.people.resting:
            extending = partial(extend_wanted, context, principal_id)
            done += bool(await context.people.run(principal_id, extending))
    return done


async def extend_principal(context: SyncContext, principal_id: str, window: Interval) -> bool:
    """Expand all of a principal's objects over ``window`` and say so in the store."""
    try:
        rules = await context.store.read(load_rules, principal_id)
        after = ""
        while batch := await _load_batch(context, principal_id, window, after):
            there = [item for item in batch if not item.is_lost]
            jobs = [(item.body, rules_of(item, *rules)) for item in there]
            done = await context.expander.expand(jobs, window)
            pairs = [*zip(there, done, strict=True), *_unknown(batch, window)]
            current = await context.store.write_repeatable(
                write_extended, principal_id, rules, pairs
            )
            # What was expanded under rules that changed meanwhile is done again from the start.
            after = batch[-1].id if current == rules else ""
            rules = current
        return await context.store.write_repeatable(finish_extension, principal_id, window)
    except NotFound:
        return False  # the principal was deleted meanwhile


def _unknown(batch: list[Outdated], window: Interval) -> list[tuple[Outdated, Expansion]]:
    """Say of the objects whose body is lost that they may be anywhere."""
    detail = "What was kept of this object cannot be read; it is fetched again."
    return [
        (item, unknown_expansion(window, "secret-unreadable", detail))
        for item in batch
        if item.is_lost
    ]


async def _load_batch(
    context: SyncContext, principal_id: str, window: Interval, after: str
) -> list[Outdated]:
    return await context.store.read(
        load_outdated, context.keyring, principal_id, window, after=after, limit=BATCH
    )
