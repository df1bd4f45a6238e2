"""A thousand accounts and the real scheduler, on a virtual clock: who waits how long, and fairness.

The benchmark ``latency`` runs the same simulation for hours.
"""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from benchmarks.simulation import (
    POLL_S,
    START,
    SimulatedWorker,
    VirtualClock,
    connect_many,
    delays,
    percentile,
)
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import TICK_S

HOT, IDLE = 50, 950
MINUTES = 7


@pytest.mark.rule("R9")
async def test_a_thousand_accounts_are_polled_in_time_by_one_process(
    sqlite_database: Database, settings, keyring
) -> None:
    clock = VirtualClock()
    with sqlite_database.write() as session:
        hot, idle = connect_many(session, keyring, hot=HOT, idle=IDLE, now=int(START))
    threads = StoreThreads(sqlite_database)
    context = SyncContext(settings, threads, keyring, clock=clock, random=Random(9))
    worker = SimulatedWorker(context, clock, Random(4))
    await worker.run_for(MINUTES * 60)
    await worker.close()
    await context.close()
    threads.close()
    polls = worker.polls
    times = Counter(poll.connection_id for poll in polls)
    assert times.keys() == {*hot, *idle}
    begun: dict[str, list[float]] = {connection_id: [] for connection_id in times}
    for poll in sorted(polls, key=lambda poll: poll.began):
        begun[poll.connection_id].append(poll.began)
    late = POLL_S[1] + 3 * TICK_S
    gaps = {name: [b - a for a, b in pairwise(at)] for name, at in begun.items()}
    assert max(gap for name in hot for gap in gaps[name]) <= 40 + late
    assert min(gap for name in hot for gap in gaps[name]) >= 30
    assert max(gap for name in idle for gap in gaps[name]) <= 300 + late
    assert min(gap for name in idle for gap in gaps[name]) >= 180
    assert max(_at_a_time(polls)) <= settings.sync_slots
    until = clock.now - 330
    assert percentile(delays(polls, hot, every_s=60, seed=1, until=until), 0.95) <= 45
    assert percentile(delays(polls, idle, every_s=60, seed=2, until=until), 0.99) <= 300


def _at_a_time(polls) -> list[int]:
    """How many polls ran whenever one began or ended."""
    steps = sorted(
        [(poll.began, 1) for poll in polls] + [(poll.ended, -1) for poll in polls],
    )
    running, found = 0, []
    for _, step in steps:
        running += step
        found.append(running)
    return found
