"""Moving the window on: objects that reach beyond what was expanded are expanded further.

The heavy half runs in the worker process; a unit writes one batch. Any number of processes may do
this at once: doing it twice changes nothing.
"""

import asyncio
import time
from dataclasses import replace
from functools import partial
from zoneinfo import ZoneInfo

from gateway.core.errors import NotFound, SecretUnreadable
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import BusyRules, Expansion, default_window
from gateway.expansion.prepare import unknown_expansion
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.booking import bookings
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import expansions, horizons
from gateway.store.objects.expansions import Outdated
from gateway.sync.context import SyncContext

BATCH = 100
DAY_S = 86_400
PRINCIPALS_AT_ONCE = 20
YIELDED = 3
"""How many times as long as one principal takes is left to others before the next."""

Rules = tuple[ZoneInfo, frozenset[str]]
"""A person's zone and own addresses."""


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
        while batch := await context.store.read(_load_batch, context, principal_id, window, after):
            there = [item for item in batch if not item.is_lost]
            jobs = [(item.body, rules_of(item, *rules)) for item in there]
            done = await context.expander.expand(jobs, window)
            pairs = [*zip(there, done, strict=True), *_unknown(batch, window)]
            current = await context.store.write_repeatable(_write, principal_id, rules, pairs)
            # What was expanded under rules that changed meanwhile is done again from the start.
            after = batch[-1].id if current == rules else ""
            rules = current
        return await context.store.write_repeatable(_finish, principal_id, window)
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


def load_rules(session: Session, principal_id: str) -> Rules:
    """Return the zone of a person and the addresses that mean this person."""
    zone = ZoneInfo(principals.get_principal(session, principal_id).time_zone)
    return zone, bookings.owner_addresses(session, principal_id)


def _load_batch(
    session: Session, context: SyncContext, principal_id: str, window: Interval, after: str
) -> list[Outdated]:
    found = expansions.outdated_objects(session, principal_id, window, after=after, limit=BATCH)
    return [load_body(session, context, item) for item in found]


def load_body(session: Session, context: SyncContext, item: Outdated) -> Outdated:
    """Fill in the body of an object that is kept encrypted because it cannot be served.

    One that cannot be decrypted any more is *lost*: it is fetched again by the next run over its
    account, and until then its time is unknown.
    """
    if item.body or item.served:
        return item
    try:
        raw = accounts.load_secret(
            session, context.keyring, f"{item.collection_id}/{item.name}", "raw"
        )
    except (NotFound, SecretUnreadable):
        return replace(item, is_lost=True)
    return replace(item, body=raw)


def rules_of(item: Outdated, zone: ZoneInfo, addresses: frozenset[str]) -> BusyRules:
    """Return the rules by which an object of such a person counts."""
    return BusyRules(
        zone=zone,
        owner_addresses=addresses,
        all_day=item.all_day,
        always_busy=item.kind == "appointment",
    )


def _write(
    session: Session,
    principal_id: str,
    rules: Rules,
    done: list[tuple[Outdated, Expansion]],
) -> Rules:
    """Write what was expanded under the rules that still hold; returns these."""
    lock_principal(session, principal_id)
    current = load_rules(session, principal_id)
    if current == rules:
        expansions.replace_expansions(session, principal_id, done)
        for item, _ in done:
            if item.is_lost:
                calendars.refetch_object(session, item.id)
    return current


def _finish(session: Session, principal_id: str, window: Interval) -> bool:
    lock_principal(session, principal_id)
    return expansions.finish_extension(session, principal_id, window)
