"""A first sync from the look-alike against the bare expansion of the same texts.

Ours is everything the gateway does: listing, fetching, stripping, expanding in its worker process,
writing objects and instances. Theirs is nothing but ``from_ical`` and recurring-ical-events over
the same window. CPU per event; and how much memory the sync took on top.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import engine
from benchmarks.cloud import first_sync_events
from benchmarks.measure import Ratio, own_cpu
from benchmarks.servers import Server, launcher
from gateway.core.instances import default_window

# Not ``-m``: the worker process would import the whole module again, as the command does not.
_SYNCER = "from benchmarks.syncer import start; start()"
TARGET = 0.7
GROWTH_MIB = 60.0


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure at 2,000 events, and at 10,000 unless ``quick``."""
    for count in (2000,) if quick else (2000, 10_000):
        yield from _run(count, rounds=2 if quick else 3)


def _run(count: int, *, rounds: int) -> Iterator[Ratio]:
    bodies = [made.body for made in first_sync_events(count)]
    window = default_window(int(time.time()))
    sample = bodies[:: max(1, count // 500)]
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
    yield Ratio("first_sync", case, "before it, MiB more", own, target=GROWTH_MIB)
    yield Ratio("first_sync", case, "before it, with its worker, MiB more", whole)


def _sync(cloud: Server, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ready = cloud.ready
        arguments = [
            str(Path(folder) / "data"),
            ready["url"],
            ready["email"],
            ready["app_password"],
        ]
        done = subprocess.run(
            [sys.executable, "-c", _SYNCER, *arguments],
            capture_output=True,
            text=True,
            timeout=900,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if found["problem"] or found["objects"] != count:
        raise RuntimeError(f"the sync did not read everything: {found}")
    return found
