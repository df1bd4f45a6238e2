"""Our CalDAV process against Radicale with its own file storage: CPU.

The same objects, byte for byte, in one calendar of each; caches warm; one request after the other;
both under the same WSGI server.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import peers
from benchmarks.dav import CASES, Calendar, Case, listing, new_put
from benchmarks.events import Made, Mix, make_events
from benchmarks.fill import Filled, fill
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import Server, gateway_part, launcher

COUNT = 2000


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure every case."""
    made = make_events(Mix.history(COUNT), today=datetime.now(UTC).date())
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ours, booking = start_ours(stack, folder / "ours", made)
        theirs = start_peer(stack, "radicale", folder, made)
        yield from _compare(ours, booking, theirs, quick=quick)


def start_ours(stack: ExitStack, folder: Path, made: list[Made]) -> tuple[Calendar, Calendar]:
    """Start our server; return ``platform/`` as a device and as a platform login sees it."""
    filled = fill(folder, [], made)
    server = stack.enter_context(gateway_part("caldav", filled.folder))
    device = _calendar(server, filled, filled.device, made)
    platform = _calendar(server, filled, filled.platform, made)
    platform.puts = 5_000  # names and minutes of its own
    return device, platform


def _calendar(server: Server, filled: Filled, login: tuple[str, str], made: list[Made]) -> Calendar:
    url = f"{server.ready['caldav']}{filled.principal_id}/platform/"
    return Calendar.at(server, url, login, [one.name for one in made])


def start_peer(stack: ExitStack, kind: str, folder: Path, made: list[Made]) -> Calendar:
    """Start a foreign server whose calendar holds the same objects."""
    objects = folder / "objects"
    if not objects.exists():
        objects.mkdir(parents=True)
        for one in made:
            (objects / one.name).write_bytes(one.body)
    server = stack.enter_context(launcher("peers", kind, str(folder / kind), str(objects)))
    names = [one.name for one in made]
    return Calendar.at(server, server.ready["calendar"], peers.LOGIN, names)


def _compare(
    ours: Calendar, booking: Calendar, theirs: Calendar, *, quick: bool
) -> Iterator[Ratio]:
    for case in CASES:
        slow = case.name == "month query with expand"
        times = 1 if slow or quick else 3
        rounds = 1 if slow and quick else 3
        work = {"ours": cpu(ours, case, case.times), "theirs": cpu(theirs, case, times)}
        if case.make is new_put:
            work["booking"] = cpu(booking, case, case.times)
        costs = in_turns(work, rounds=rounds, warm_up=0 if slow else 1)
        compare_sizes(case, ours, theirs)
        for name in (name for name in work if name != "theirs"):
            label = case.name if name == "ours" else f"{case.name}, an appointment"
            yield ratio(label, "Radicale", costs[name], costs["theirs"], case.target)


def ratio(
    case: str,
    against: str,
    ours: list[float],
    theirs: list[float],
    target: float | None,
    unit: str = "CPU",
    part: str = "caldav",
) -> Ratio:
    """Return the line of one case from the seconds of each round."""
    value = median_ratio(ours, theirs)
    mine, other = min(ours) * 1000, min(theirs) * 1000
    return Ratio(part, case, against, value, mine, other, target=target, unit=unit)


def cpu(calendar: Calendar, case: Case, times: int) -> Callable[[], float]:
    """Return a function that says what one request costs the server, in CPU seconds."""

    def cost() -> float:
        requests = [case.make(calendar) for _ in range(times)]
        began = calendar.server.cpu_s()
        for request in requests:
            calendar.send(case.name, request, case.status)
        return (calendar.server.cpu_s() - began) / times

    return cost


def wall(calendar: Calendar, case: Case, times: int) -> Callable[[], float]:
    """Return a function that says how long one answer takes, in seconds."""

    def cost() -> float:
        requests = [case.make(calendar) for _ in range(times)]
        began = calendar.connection.wall_s
        for request in requests:
            calendar.send(case.name, request, case.status)
        return (calendar.connection.wall_s - began) / times

    return cost


def compare_sizes(case: Case, ours: Calendar, theirs: Calendar) -> None:
    """Say when both did not answer with as many resources: then they did not do the same work."""
    mine, other = ours.sizes[case.name], theirs.sizes[case.name]
    if abs(mine - other) > max(3, mine // 50) and case.make is not listing:
        print(f"{case.name}: {mine} responses here, {other} there", file=sys.stderr)
