"""The first GET free/busy after a change: the timeline is read and merged anew.

Before each question another process raises the person's generation, as every change does. Asked
are one week, for which the weeks around today are read, and a year, for which all is. 4,000 events
are the 2,000 in twice as many calendars, so every row is there twice: linear is 1 or less.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from sqlalchemy import update

from benchmarks.fill import Filled, fill
from benchmarks.freebusy import COUNT, calendars, question
from benchmarks.load import Connection, Refused
from benchmarks.measure import Ratio, in_turns
from benchmarks.servers import Server, gateway_part
from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.store.tables import generations

WINDOWS = {"1 week": 7, "1 year": 366}
TARGET_MS = 10.0
LINEAR = 1.1


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both windows with 2,000 and 4,000 events."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        single = calendars(COUNT)
        few = fill(Path(name) / "few", single)
        many = fill(Path(name) / "many", [*single, *single])
        servers = [
            stack.enter_context(gateway_part("api", filled.folder)) for filled in (few, many)
        ]
        for window, days in WINDOWS.items():
            work = {
                "few": _cost(stack, servers[0], few, days),
                "many": _cost(stack, servers[1], many, days),
            }
            found = in_turns(work, rounds=5 if quick else 9)
            case = f"GET {window} after a change"
            yield Ratio(
                part="freebusy_change",
                case=f"{case}, {COUNT:,} events",
                against="milliseconds",
                value=min(found["few"]) * 1000,
                ours=min(found["few"]) * 1000,
                target=TARGET_MS,
            )
            yield Ratio(
                part="freebusy_change",
                case=f"{case}, {2 * COUNT:,} events",
                against=f"itself at {COUNT:,}, by row",
                value=median(a / b / 2 for a, b in zip(found["many"], found["few"], strict=True)),
                ours=min(found["many"]) * 1000,
                theirs=min(found["few"]) * 1000,
                target=LINEAR,
            )


def _cost(stack: ExitStack, api: Server, filled: Filled, days: int) -> Callable[[], float]:
    """Return a function that says what the first answer after a change costs, in CPU seconds."""
    database = Database(Settings(data_dir=filled.folder).database)
    stack.callback(database.close)
    connection = Connection(api.address("api"))
    stack.callback(connection.close)
    request, times = question(filled, days), 20

    def cost() -> float:
        spent = 0.0
        for _ in range(times):
            with database.write() as session:
                raised = generations.c.generation + 1
                session.execute(update(generations).values(generation=raised))
            began = api.cpu_s()
            answer = connection.send(request)
            spent += api.cpu_s() - began
            if answer.status != 200:
                raise Refused(answer.body.decode())
        return spent / times

    return cost
