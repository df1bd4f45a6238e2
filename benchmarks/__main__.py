"""``python -m benchmarks [names] [--quick] [--json | --markdown]``: measure, print one table."""

import argparse
import importlib
import sys

from benchmarks.measure import Ratio
from benchmarks.report import render

PARTS = (
    "freebusy",
    "freebusy_postgresql",
    "freebusy_history",
    "freebusy_people",
    "freebusy_change",
    "freebusy_load",
    "freebusy_peers",
    "slots",
    "caldav",
    "xandikos",
    "growth",
    "processes",
    "concurrency",
    "first_sync",
    "first_sync_50k",
    "idle",
    "latency",
    "scale",
    "abuse",
    "engine",
)


def main() -> None:
    """Run the parts named, all by default, and print what they found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"what to measure: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller data")
    parser.add_argument("--json", dest="style", action="store_const", const="json")
    parser.add_argument("--markdown", dest="style", action="store_const", const="markdown")
    parser.set_defaults(style="text")
    given = parser.parse_args()
    unknown = set(given.names) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    rows: list[Ratio] = []
    for name in given.names or PARTS:
        part = importlib.import_module(f"benchmarks.{name}")
        for row in part.run(quick=given.quick):
            rows.append(row)
            print(f"… {row.part}: {row.case}", file=sys.stderr, flush=True)
    print(render(rows, style=given.style))


if __name__ == "__main__":
    main()
