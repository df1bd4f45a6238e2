"""GET free/busy in an open loop while a sync writes: the 99th percentile against the no-op's.

Requests leave at moments that do not wait for answers, at 30 % of what a CPU second serves; a delay
counts from the moment a request was due. Meanwhile :mod:`benchmarks.changes` writes 50 changes a
second to other people and 5 to the one that is asked about. The no-op stands behind the same frame
and on the same database and gets the same number of requests a second. Both in turns; every
round has its own percentiles, the median of the ratios counts.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fill import fill
from benchmarks.freebusy import COUNT, ask, bearer, calendars, cost_of, question
from benchmarks.load import open_loop, request_bytes
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import Server, gateway_part, launcher

SHARE_OF_CAPACITY = 0.3
TARGET = 3.0


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure one week's question."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        filled = fill(folder / "data", calendars(COUNT))
        request = question(filled, 7)
        stack.enter_context(gateway_part("caldav", filled.folder))
        api = stack.enter_context(gateway_part("api", filled.folder))
        (folder / "answer.json").write_bytes(ask(api, request))
        noop = stack.enter_context(
            launcher(
                "noop",
                str(filled.folder),
                str(folder / "answer.json"),
                requests_per_minute="1000000000",
            )
        )
        plain = request_bytes("GET", "/v1/noop0", headers=bearer(filled))
        cost = min(cost_of(api, "api", [request], 2_000)() for _ in range(3))
        rate = SHARE_OF_CAPACITY / cost
        stack.enter_context(launcher("changes", str(filled.folder), filled.principal_id))
        seconds = 3.0 if quick else 6.0
        found = in_turns(
            {
                "ours": _percentile(api, "api", request, rate, seconds),
                "noop": _percentile(noop, "guarded", plain, rate, seconds),
            },
            rounds=5 if quick else 9,
        )
        yield Ratio(
            part="freebusy_load",
            case=f"GET 1 week, {rate:.0f} a second, 99th percentile",
            against="no-op behind the frame",
            value=median_ratio(found["ours"], found["noop"]),
            ours=min(found["ours"]) * 1000,
            theirs=min(found["noop"]) * 1000,
            target=TARGET,
            unit="wall",
        )


def _percentile(
    server: Server, part: str, request: bytes, rate: float, seconds: float
) -> Callable[[], float]:
    """Return a function that says within how many seconds 99 of 100 answers came."""

    def measure() -> float:
        times = round(rate * seconds)
        delays = sorted(asyncio.run(open_loop(server.address(part), request, times, rate)))
        time.sleep(0.2)
        return delays[len(delays) * 99 // 100]

    return measure
