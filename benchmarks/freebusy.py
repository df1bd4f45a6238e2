"""GET free/busy against a no-op of the same size: requests per CPU second of the server.

The API runs as ``gateway api`` on SQLite, with 4 calendars of 2,000 events in all, asked by 16
connections at a time. The no-op sends the very bytes of the answer: bare, and behind the same
middleware. The value is a share: 1 means that free/busy costs no more than sending its bytes.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.events import Mix, make_events
from benchmarks.fill import Filled, fill
from benchmarks.load import Connection, Refused, hammer, request_bytes
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import Server, gateway_part, launcher

AT_ONCE = 16
CALENDARS = 4
WINDOWS = {"1 week": 7, "4 weeks": 28}
BARE, GUARDED = "bare no-op", "no-op behind the middleware"
TARGETS = {BARE: 0.5, GUARDED: 0.7}


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both windows at 2,000 events, and at 20,000 unless ``quick``."""
    for count in (2000,) if quick else (2000, 20_000):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            yield from _run(Path(folder), count, quick=quick)


def _run(folder: Path, count: int, *, quick: bool) -> Iterator[Ratio]:
    made = make_events(Mix.history(count), today=datetime.now(UTC).date())
    filled = fill(folder / "data", [made[number::CALENDARS] for number in range(CALENDARS)])
    with gateway_part("api", filled.folder) as api:
        requests = {name: _question(filled, days) for name, days in WINDOWS.items()}
        payloads = [_ask(api, request) for request in requests.values()]
        files = [folder / f"{number}.json" for number in range(len(payloads))]
        for file, payload in zip(files, payloads, strict=True):
            file.write_bytes(payload)
        with launcher("noop", str(filled.folder), *map(str, files)) as noop:
            for number, (window, request) in enumerate(requests.items()):
                yield from _compare(api, noop, filled, number, request, (count, window), quick)


def _question(filled: Filled, days: int) -> bytes:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    end = start + timedelta(days=days)
    query = f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"
    target = f"/v1/principals/{filled.principal_id}/freebusy?{query}"
    return request_bytes("GET", target, headers=_bearer(filled))


def _bearer(filled: Filled) -> dict[str, str]:
    return {"Authorization": f"Bearer {filled.key}"}


def _ask(api: Server, request: bytes) -> bytes:
    connection = Connection(api.address("api"))
    answer = connection.send(request)
    connection.close()
    if answer.status != 200:
        raise Refused(answer.body.decode())
    return answer.body


def _compare(
    api: Server,
    noop: Server,
    filled: Filled,
    number: int,
    request: bytes,
    case: tuple[int, str],
    quick: bool,
) -> Iterator[Ratio]:
    seconds = 0.4 if quick else 1.0
    times = max(100, round(seconds / _cost(api, "api", request, 64)()))
    query = request.split(b" ")[1].partition(b"?")[2].decode()
    bare = request_bytes("GET", f"/bare/{number}?{query}", headers=_bearer(filled))
    guarded = request_bytes("GET", f"/v1/noop{number}", headers=_bearer(filled))
    costs = in_turns(
        {
            "ours": _cost(api, "api", request, times),
            BARE: _cost(noop, "bare", bare, max(2000, times)),
            GUARDED: _cost(noop, "guarded", guarded, max(500, times)),
        },
        rounds=5 if quick else 7,
    )
    count, window = case
    for name, target in TARGETS.items():
        yield Ratio(
            part="freebusy",
            case=f"GET {window}, {count:,} events",
            against=name,
            value=median_ratio(costs[name], costs["ours"]),
            ours=min(costs["ours"]) * 1000,
            theirs=min(costs[name]) * 1000,
            target=target,
            at_least=True,
            unit="share",
        )


def _cost(server: Server, part: str, request: bytes, times: int) -> Callable[[], float]:
    """Return a function that says what one request costs the server, in CPU seconds."""

    def cost() -> float:
        began = server.cpu_s()
        asyncio.run(hammer(server.address(part), request, times=times, at_once=AT_ONCE))
        time.sleep(0.02)
        return (server.cpu_s() - began) / times

    return cost
