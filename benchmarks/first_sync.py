"""A first sync from the look-alike against the bare expansion of the same texts.

Ours is everything the gateway does: listing, fetching, stripping, expanding in its worker process,
writing objects and instances. Theirs is nothing but ``from_ical`` and recurring-ical-events over
the same window. CPU per event; how much memory the sync took on top, the whole worker process
included; and how late the event loop was meanwhile, against the same loop when only idle polls go
on (see :mod:`benchmarks.heartbeat`).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import engine
from benchmarks.cloud import first_sync_events
from benchmarks.measure import Ratio, own_cpu
from benchmarks.servers import Server, launcher
from gateway.core.recurrence.expand import default_window

# Not ``-m``: the worker process would import the whole module again, as the command does not.
_SYNCER = "from benchmarks.syncer import start; start()"
TARGET = 0.7
GROWTH_MIB = 60.0
LATER = 3.0
SMALL_ACCOUNTS = 10


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure at 2,000 events, and at 10,000 unless ``quick``."""
    for count in (2000,) if quick else (2000, 10_000):
        yield from of_size(count, rounds=2 if quick else 3)
    yield _loop(2000 if quick else 10_000, rounds=2 if quick else 3)


def of_size(count: int, *, rounds: int) -> Iterator[Ratio]:
    """Measure CPU and memory of so many events."""
    bodies = [made.body for made in first_sync_events(count)]
    window = default_window(int(time.time()))
    sample = bodies[:: max(1, count // 500)]
    del bodies
    found, ratios, theirs = [], [], []
    with launcher("cloud", str(count)) as cloud:
        for _ in range(rounds):
            ours = _sync(cloud, count)
            bare = own_cpu(lambda: [engine.plain(body, window) for body in sample]) / len(sample)
            found.append(ours)
            theirs.append(bare)
            ratios.append(float(ours["cpu_s"]) / count / bare)
    case = f"first sync, {count:,} events"
    best = min(one["cpu_s"] for one in found) / count
    yield Ratio(
        part="first_sync",
        case=case,
        against=engine.PLAIN,
        value=median(ratios),
        ours=best * 1000,
        theirs=min(theirs) * 1000,
        per="event",
        target=TARGET,
    )
    own = max(one["growth_mib"] for one in found)
    whole = max(one["growth_mib"] + one["worker_mib"] for one in found)
    yield Ratio("first_sync", case, "before it", own, unit="MiB more")
    yield Ratio(
        "first_sync",
        case,
        "before it, its whole worker process included",
        whole,
        target=GROWTH_MIB,
        unit="MiB more",
    )


def _loop(count: int, *, rounds: int) -> Ratio:
    """Return the best of some rounds: what else the machine does can only add."""
    with launcher("cloud", str(count), str(SMALL_ACCOUNTS)) as cloud:
        found = [_sync(cloud, count, cloud.ready["others"]) for _ in range(rounds)]
    best = min(found, key=lambda one: one["busy_p99_ms"] / one["idle_p99_ms"])
    return Ratio(
        "first_sync",
        f"event loop's p99 delay meanwhile, {count:,} events",
        f"the same loop with {SMALL_ACCOUNTS} idle polls a second",
        best["busy_p99_ms"] / best["idle_p99_ms"],
        best["busy_p99_ms"],
        best["idle_p99_ms"],
        per="beat",
        target=LATER,
        unit="wall",
    )


def _sync(cloud: Server, count: int, others: str = "[]") -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ready = cloud.ready
        arguments = [
            str(Path(folder) / "data"),
            ready["url"],
            ready["email"],
            ready["app_password"],
            others,
        ]
        done = subprocess.run(
            [sys.executable, "-c", _SYNCER, *arguments],
            capture_output=True,
            text=True,
            timeout=900,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["problem"] or found["objects"] != count:
        raise RuntimeError(f"the sync did not read everything: {found}")
    return found
