"""GET free/busy of a person with 20,000 events against the same with 2,000: as dense, longer."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fill import fill
from benchmarks.freebusy import COUNT, WINDOWS, calendars, cost_of, question
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import gateway_part

MANY = 20_000
TARGET = 0.95


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both windows."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        few, many = (fill(Path(name) / str(count), calendars(count)) for count in (COUNT, MANY))
        small, large = (
            stack.enter_context(gateway_part("api", filled.folder)) for filled in (few, many)
        )
        times, rounds = (1_500, 5) if quick else (3_000, 9)
        for window, days in WINDOWS.items():
            work = {
                "many": cost_of(large, "api", [question(many, days)], times),
                "few": cost_of(small, "api", [question(few, days)], times),
            }
            found = in_turns(work, rounds=rounds)
            yield Ratio(
                part="freebusy_history",
                case=f"GET {window}, {MANY:,} events",
                against=f"itself at {COUNT:,}",
                value=median_ratio(found["few"], found["many"]),
                ours=min(found["many"]) * 1000,
                theirs=min(found["few"]) * 1000,
                target=TARGET,
                at_least=True,
                unit="share",
            )
