"""GET free/busy over four calendars against what one would do without the gateway.

A client asks Radicale or Xandikos for a free-busy-query of each of the four calendars (2,000 events
in all, each calendar in a server of its own) and merges the answers; or it fetches the events of
the month from Radicale's calendars on each request and expands them with recurring-ical-events.
What the client itself does counts too. Radicale: CPU of server and client; Xandikos: time on the
wall, which also counts its work outside the process.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import recurring_ical_events
from icalendar import Calendar as Parsed
from lxml import etree

from benchmarks.caldav import start_peer
from benchmarks.dav import Calendar, free_busy, month
from benchmarks.fill import fill
from benchmarks.freebusy import COUNT, calendars, cost_of, question
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import gateway_part
from gateway.core.intervals import merge

DAYS = 30
_PERIODS = re.compile(rb"^FREEBUSY[^:]*:(.+)$", re.MULTILINE)
_DATA = "{urn:ietf:params:xml:ns:caldav}calendar-data"


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure a month."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder, made = Path(name), calendars(COUNT)
        filled = fill(folder / "data", made)
        api = stack.enter_context(gateway_part("api", filled.folder))
        peers = {
            kind: [
                start_peer(stack, kind, folder / f"{kind}-{number}", part)
                for number, part in enumerate(made)
            ]
            for kind in ("radicale", "xandikos")
        }
        theirs = {
            "Radicale, 4 free-busy-queries merged": (_cpu(peers["radicale"], _merged), "CPU"),
            "Xandikos, 4 free-busy-queries merged": (_wall(peers["xandikos"], _merged), "wall"),
            "fetch from Radicale and expand": (_cpu(peers["radicale"], _expanded), "CPU"),
        }
        ours = cost_of(api, "api", [question(filled, DAYS)], 1_000)
        for against, (work, unit) in theirs.items():
            found = in_turns({"ours": ours, "theirs": work}, rounds=2 if quick else 3)
            yield Ratio(
                part="freebusy_peers",
                case=f"GET {DAYS} days, 4 calendars",
                against=against,
                value=median_ratio(found["ours"], found["theirs"]),
                ours=min(found["ours"]) * 1000,
                theirs=min(found["theirs"]) * 1000,
                unit=unit,
            )


Ask = Callable[[Sequence[Calendar]], object]


def _cpu(places: Sequence[Calendar], work: Ask) -> Callable[[], float]:
    def cost() -> float:
        began = sum(place.server.cpu_s() for place in places) + time.process_time()
        work(places)
        return sum(place.server.cpu_s() for place in places) + time.process_time() - began

    return cost


def _wall(places: Sequence[Calendar], work: Ask) -> Callable[[], float]:
    def cost() -> float:
        began = time.perf_counter()
        work(places)
        return time.perf_counter() - began

    return cost


def _merged(places: Sequence[Calendar]) -> object:
    """Ask every calendar for its busy time and merge the texts of its periods."""
    periods = []
    for place in places:
        answer = place.send("free-busy", free_busy(place), 200)
        for line in _PERIODS.findall(answer.body.replace(b"\r\n ", b"").replace(b"\r", b"")):
            periods += [part.split(b"/") for part in line.split(b",")]
    return merge((_seconds(start), _seconds(end)) for start, end in periods)


def _seconds(stamp: bytes) -> int:
    """Return a number that orders like the time: enough to merge by."""
    return int(stamp.strip().rstrip(b"Z").replace(b"T", b""))


def _expanded(places: Sequence[Calendar]) -> object:
    """Fetch the month's events of every calendar and expand them."""
    found: list[object] = []
    for place in places:
        answer = place.send("month", month(place), 207)
        for data in etree.fromstring(answer.body).iter(_DATA):
            calendar = Parsed.from_ical(data.text or "")
            found += recurring_ical_events.of(calendar).between(*place.month)
    return found
