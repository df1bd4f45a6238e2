"""GET free/busy against a no-op of the same size: requests per CPU second of the server.

``gateway api`` with 4 calendars of 2,000 events in all, asked by 16 connections at a time, on
SQLite with the CalDAV process beside it. The no-op sends the very bytes of the answer: bare, and
behind the API's own frame. The value is a share: 1 means that free/busy costs no more than
sending its bytes. :mod:`benchmarks.freebusy_postgresql` is the same on PostgreSQL.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.events import Made, Mix, make_events
from benchmarks.fill import Filled, fill
from benchmarks.load import Connection, Refused, hammer, request_bytes
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import Server, gateway_part, launcher

AT_ONCE = 16
CALENDARS = 4
COUNT = 2_000
MANY_WINDOWS = 1_000
WINDOWS = {"1 week": 7, "4 weeks": 28}
BARE, GUARDED = "bare no-op", "no-op behind the frame"
TARGETS = {BARE: 0.5, GUARDED: 0.7}


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both windows on SQLite, API and CalDAV in two processes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        filled = fill(Path(name) / "data", calendars(COUNT))
        stack.enter_context(gateway_part("caldav", filled.folder))
        yield from measure(stack, Path(name), filled, "freebusy", TARGETS, quick=quick)


def calendars(count: int) -> list[list[Made]]:
    """Return ``count`` events of one life in four calendars."""
    made = make_events(Mix.history(count), today=datetime.now(UTC).date())
    return [made[number::CALENDARS] for number in range(CALENDARS)]


def measure(
    stack: ExitStack,
    folder: Path,
    filled: Filled,
    part: str,
    targets: dict[str, float],
    *,
    quick: bool,
    **settings: str,
) -> Iterator[Ratio]:
    """Start API and no-ops on an installation and compare both windows, then many windows."""
    api = stack.enter_context(gateway_part("api", filled.folder, **settings))
    requests = {name: question(filled, days) for name, days in WINDOWS.items()}
    files = []
    for name, request in requests.items():
        files.append(folder / f"{name}.json")
        files[-1].write_bytes(ask(api, request))
    limits = {"requests_per_minute": "1000000000", **settings}
    noop = stack.enter_context(launcher("noop", str(filled.folder), *map(str, files), **limits))
    for number, (window, request) in enumerate(requests.items()):
        against = _NoOps.of(noop, filled, number, request)
        yield from _compare(api, against, (part, window), [request], targets, quick)
    several = [question(filled, 7, minutes=15 * number) for number in range(MANY_WINDOWS)]
    against = _NoOps.of(noop, filled, 0, requests["1 week"])
    case = (part, f"any of {MANY_WINDOWS:,} windows of 1 week")
    yield from _compare(api, against, case, several, {}, quick)


def question(filled: Filled, days: int, *, minutes: int = 0, person: str = "") -> bytes:
    """Return the request for so many days from now on, or from so many minutes later."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = now + timedelta(minutes=minutes)
    end = start + timedelta(days=days)
    query = f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"
    target = f"/v1/principals/{person or filled.principal_id}/freebusy?{query}"
    return request_bytes("GET", target, headers=bearer(filled))


def bearer(filled: Filled) -> dict[str, str]:
    """Return the header with the booking page's key."""
    return {"Authorization": f"Bearer {filled.key}"}


def ask(api: Server, request: bytes) -> bytes:
    """Send one request and return the body of its answer, which must be 200."""
    connection = Connection(api.address("api"))
    answer = connection.send(request)
    connection.close()
    if answer.status != 200:
        raise Refused(answer.body.decode())
    return answer.body


@dataclass(frozen=True, slots=True)
class _NoOps:
    """The process of the no-ops, and what to send to each."""

    server: Server
    bare: bytes
    guarded: bytes

    @classmethod
    def of(cls, server: Server, filled: Filled, number: int, request: bytes) -> "_NoOps":
        query = request.split(b" ")[1].partition(b"?")[2].decode()
        headers = bearer(filled)
        return cls(
            server,
            request_bytes("GET", f"/bare/{number}?{query}", headers=headers),
            request_bytes("GET", f"/v1/noop{number}", headers=headers),
        )


def _compare(
    api: Server,
    noop: _NoOps,
    case: tuple[str, str],
    requests: Sequence[bytes],
    targets: dict[str, float],
    quick: bool,
) -> Iterator[Ratio]:
    times = 1_500 if quick else 4_000
    costs = in_turns(
        {
            "ours": cost_of(api, "api", requests, times),
            BARE: cost_of(noop.server, "bare", [noop.bare], times),
            GUARDED: cost_of(noop.server, "guarded", [noop.guarded], times),
        },
        rounds=5 if quick else 9,
    )
    part, window = case
    for name in (BARE, GUARDED):
        yield Ratio(
            part=part,
            case=f"GET {window}",
            against=name,
            value=median_ratio(costs[name], costs["ours"]),
            ours=min(costs["ours"]) * 1000,
            theirs=min(costs[name]) * 1000,
            target=targets.get(name),
            at_least=True,
            unit="share",
        )


def cost_of(
    server: Server, part: str, requests: Sequence[bytes], times: int
) -> Callable[[], float]:
    """Return a function that says what one request costs the server, in CPU seconds."""

    def cost() -> float:
        began = server.cpu_s()
        asyncio.run(hammer(server.address(part), requests, times=times, at_once=AT_ONCE))
        time.sleep(0.02)
        return (server.cpu_s() - began) / times

    return cost
