"""After an upgrade: what an earlier engine expanded is expanded by the rules that hold now.

What is stored stands until its object is done (R25: no time turns free or unknown meanwhile). One
batch at a time with a pause after it, so that a large store is renewed beside its everyday work.
Any number of processes may do this at once: doing it twice changes nothing.
"""

from functools import partial

from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import ENGINE_VERSION, Expansion, default_window
from gateway.expansion.prepare import FAILED
from gateway.observe import logger
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import expansions, objects
from gateway.store.objects.expansions import Outdated
from gateway.sync.context import SyncContext
from gateway.sync.windows import Rules, load_body, load_rules, rules_of

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
    await context.store.write_repeatable(_finish, principal_id)
    return 1


async def _renew(context: SyncContext, principal_id: str, ids: list[str]) -> int | None:
    """Renew these objects; returns how many were written, None to do them again."""
    try:
        rules, window = await context.store.read(_load_terms, context, principal_id)
        found = await context.store.read(_load_bodies, context, ids)
        done = await _expand(context, found, rules, window)
        return await context.store.write_repeatable(_write, principal_id, rules, window, done)
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


def _load_bodies(session: Session, context: SyncContext, ids: list[str]) -> list[Outdated]:
    """Read objects with their bodies, without those whose secret cannot be decrypted (R45)."""
    found = [load_body(session, context, item) for item in expansions.load_outdated(session, ids)]
    return [item for item in found if not item.is_lost]


def _load_terms(
    session: Session, context: SyncContext, principal_id: str
) -> tuple[Rules, Interval]:
    return load_rules(session, principal_id), _window(session, context, principal_id)


def _window(session: Session, context: SyncContext, principal_id: str) -> Interval:
    """As far as anything of the person is expanded already: nothing known may become unknown."""
    low, high = default_window(context.now())
    known = objects.get_coverage(session, principal_id)
    if known is None or known == expansions.NEVER:
        return low, high
    return min(low, known[0]), max(high, known[1])


def _write(
    session: Session,
    principal_id: str,
    rules: Rules,
    window: Interval,
    done: list[tuple[Outdated, Expansion]],
) -> int | None:
    """Write what was expanded under terms that still hold; None where they do not."""
    lock_principal(session, principal_id)
    known = objects.get_coverage(session, principal_id) or window
    covers = known == expansions.NEVER or (window[0] <= known[0] and known[1] <= window[1])
    if not covers or load_rules(session, principal_id) != rules:
        return None
    if done:
        expansions.replace_expansions(session, principal_id, done)
    return len(done)


def _finish(session: Session, principal_id: str) -> None:
    lock_principal(session, principal_id)
    expansions.note_engine(session, principal_id, ENGINE_VERSION)
