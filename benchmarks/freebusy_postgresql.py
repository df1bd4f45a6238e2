"""GET free/busy on PostgreSQL, where changes come by NOTIFY, against the no-ops."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fill import fill
from benchmarks.freebusy import BARE, COUNT, GUARDED, calendars, measure
from benchmarks.measure import Ratio
from benchmarks.servers import postgresql

TARGETS = {BARE: 0.5, GUARDED: 0.8}


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both windows on the PostgreSQL of the pip wheel."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        url = stack.enter_context(postgresql())
        filled = fill(Path(name) / "data", calendars(COUNT), database_url=url)
        settings = {"database_url": url}
        part = "freebusy_postgresql"
        yield from measure(stack, Path(name), filled, part, TARGETS, quick=quick, **settings)
