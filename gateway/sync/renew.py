"""After an upgrade: what an earlier engine expanded is expanded by the rules that hold now.

What is stored stands until its object is done (R25: no time turns free or unknown meanwhile). One
batch at a time with a pause after it, so that a large store is renewed beside its everyday work.
Any number of processes may do this at once: doing it twice changes nothing.
"""

from functools import partial

from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import Expansion
from gateway.expansion.prepare import FAILED
from gateway.observe import logger
from gateway.services.expansions import (
    Rules,
    finish_renewal,
    load_readable,
    load_terms,
    rules_of,
    write_renewed,
)
from gateway.store.objects import expansions
from gateway.store.objects.expansions import Outdated
from gateway.sync.context import SyncContext

BATCH = 100
PAUSE_S = 0.5
"""How long a worker rests between two batches."""

_log = logger("sync")


async def renew_batch(context: SyncContext, *, limit: int = BATCH) -> int:
    """Expand some objects of an earlier engine anew; returns how many, 0 when none is left.

    An object that cannot be read or breaks the expansion keeps what is stored of it.
    """
    principal_id = await context.store.read(
        expansions.principal_of_earlier_engine, without=context.renewals.resting
    )
    if principal_id is None:
        return 0
    renewing = partial(_batch_of, context, principal_id, limit)
    return await context.renewals.run(principal_id, renewing) or 1


async def _batch_of(context: SyncContext, principal_id: str, limit: int) -> int:
    """Go on behind the last batch: from the start each would walk through all that is done."""
    while ids := await context.store.read(
        expansions.ids_of_earlier_engine,
        principal_id,
        after=context.renewed.get(principal_id, ""),
        limit=limit,
    ):
        done = await _renew(context, principal_id, ids)
        if done is None:
            return 1
        context.renewed[principal_id] = ids[-1]
        if done:
            return len(ids)
    context.renewed.pop(principal_id, None)
    await context.store.write_repeatable(finish_renewal, principal_id)
    return 1


async def _renew(context: SyncContext, principal_id: str, ids: list[str]) -> int | None:
    """Renew these objects; returns how many were written, None to do them again."""
    try:
        rules, window = await context.store.read(load_terms, principal_id, now=context.now())
        found = await context.store.read(load_readable, context.keyring, ids)
        done = await _expand(context, found, rules, window)
        return await context.store.write_repeatable(
            write_renewed, principal_id, rules, window, done
        )
    except NotFound:
        return 0  # the principal was deleted meanwhile


async def _expand(
    context: SyncContext, items: list[Outdated], rules: Rules, window: Interval
) -> list[tuple[Outdated, Expansion]]:
    """Expand a batch, leaving out what breaks the expansion."""
    jobs = [(item.body, rules_of(item, *rules)) for item in items]
    done = []
    for item, expansion in zip(items, await context.expander.expand(jobs, window), strict=True):
        if any(problem.code == FAILED for problem in expansion.problems):
            _log.warning("not expanded anew", object=item.id)
        else:
            done.append((item, expansion))
    return done
