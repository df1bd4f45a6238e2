"""Our CalDAV process with 20,000 events against itself with 2,000: only full listings may grow."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.caldav import COUNT, cpu, ratio, start_ours
from benchmarks.dav import CASES
from benchmarks.events import Mix, make_events
from benchmarks.measure import Ratio, in_turns

MANY = 20_000
TARGET = 1.3


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure every case in both; the month that is asked for holds about as much in each."""
    today = datetime.now(UTC).date()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        few, many = (
            start_ours(stack, Path(name) / str(count), make_events(Mix.history(count), today=today))
            for count in (COUNT, MANY)
        )
        for case in CASES:
            work = {
                "many": cpu(many[0], case, 1 if case.grows else case.times),
                "few": cpu(few[0], case, case.times),
            }
            costs = in_turns(work, rounds=3 if quick else 7)
            target = None if case.grows else TARGET
            found = costs["many"], costs["few"], target
            yield ratio(case.name, f"itself at {COUNT:,}", *found, part="growth")
