"""Our CalDAV process against Xandikos, as it comes: time on the wall, some everyday requests."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.caldav import COUNT, compare_sizes, ratio, start_ours, start_peer, wall
from benchmarks.dav import CASES, ctag, listing, month, multiget, new_put
from benchmarks.events import Mix, make_events
from benchmarks.measure import Ratio, in_turns

_CASES = [case for case in CASES if case.make in (ctag, listing, month, multiget, new_put)]


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure with 2,000 events in one calendar of each."""
    made = make_events(Mix.history(COUNT), today=datetime.now(UTC).date())
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        ours, _booking = start_ours(stack, Path(name) / "ours", made)
        theirs = start_peer(stack, "xandikos", Path(name), made)
        for case in _CASES:
            work = {"ours": wall(ours, case, case.times), "theirs": wall(theirs, case, 1)}
            costs = in_turns(work, rounds=2 if quick else 3, warm_up=2)
            compare_sizes(case, ours, theirs)
            found = costs["ours"], costs["theirs"], None
            yield ratio(case.name, "Xandikos", *found, unit="wall", part="xandikos")
