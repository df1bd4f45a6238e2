"""``gateway caldav --processes 4`` against one process: answers per second on the wall.

Threads share one interpreter, processes do not: several are what uses more than one core.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.caldav import COUNT
from benchmarks.dav import CASES, Calendar, Case, ctag, month
from benchmarks.events import Mix, make_events
from benchmarks.fill import fill
from benchmarks.measure import Ratio, in_turns
from benchmarks.servers import gateway_part

PROCESSES = 4
CLIENTS = 16
TIMES = {"ctag": 60, "month": 6}
_CASES = [case for case in CASES if case.make in (ctag, month)]


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both requests with 2,000 events; the best round of each counts."""
    made = make_events(Mix.history(COUNT), today=datetime.now(UTC).date())
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        filled = fill(Path(name) / "ours", [], made)
        clients: dict[str, list[Calendar]] = {}
        for count in (PROCESSES, 1):
            started = gateway_part("caldav", filled.folder, "--processes", str(count))
            server = stack.enter_context(started)
            url = f"{server.ready['caldav']}{filled.principal_id}/platform/"
            names = [one.name for one in made]
            clients[str(count)] = [
                Calendar.at(server, url, filled.device, names) for _ in range(CLIENTS)
            ]
        for case in _CASES:
            times = TIMES[case.make.__name__] // (2 if quick else 1)
            work = {count: _at_once(found, case, times) for count, found in clients.items()}
            costs = in_turns(work, rounds=3 if quick else 7)
            many, one = min(costs[str(PROCESSES)]), min(costs["1"])
            yield Ratio(
                "processes",
                f"{case.name}, {PROCESSES} processes, {CLIENTS} clients",
                "one process, answers per second",
                one / many,
                many * 1000,
                one * 1000,
                unit="wall",
            )


def _at_once(clients: list[Calendar], case: Case, times: int) -> Callable[[], float]:
    """Return a function that says how many seconds pass per answer while all clients ask."""

    def ask(client: Calendar) -> None:
        request = case.make(client)
        for _ in range(times):
            client.send(case.name, request, case.status)

    def cost() -> float:
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - began) / (times * len(clients))

    return cost
