"""What another tenant feels while somebody abuses the gateway: holds and PROPFINDs, p50 and p99.

``gateway api`` and ``gateway caldav`` run on one installation with two tenants. One goes on making
holds and listing a home, one after the other; the other, or somebody without any key, runs one
abuse at a time from a process of its own. Each abuse is a row of ``ABUSES`` in
:mod:`benchmarks.abuse_api` or :mod:`benchmarks.abuse_caldav`: a function that goes on until its
process is ended. Each is compared with the idle time measured just before it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fill import add_key, add_person, fill
from benchmarks.freebusy import calendars
from benchmarks.load import Connection, Refused, basic, request_bytes
from benchmarks.measure import Ratio
from benchmarks.servers import gateway_part, launcher
from gateway.store.engine import Database

TARGET = 3.0
MODULES = ("abuse_api", "abuse_caldav")
_PROPS = (
    '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><displayname/>'
    "<sync-token/></prop></propfind>"
)


@dataclass(frozen=True, slots=True)
class World:
    """Where the parts listen, and what the abuser has: everything of one tenant, nothing more."""

    api: tuple[str, int]
    caldav: tuple[str, int]
    folder: str
    key: str
    principals: tuple[str, ...]
    mirror: str
    device: tuple[str, str]
    platform: tuple[str, str]

    @classmethod
    def read(cls, text: str) -> "World":
        """Read what :meth:`write` wrote."""
        plain = json.loads(text)
        lists = {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
        return cls(**{**plain, **lists})

    def write(self) -> str:
        """Write it for another process."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Abuse:
    """One way to disturb others: ``act`` goes on for ever; ``settle_s`` passes before measuring."""

    name: str
    act: Callable[[World], None]
    settle_s: float = 1.0


def abuses() -> Mapping[str, tuple[str, Abuse]]:
    """Return every abuse by name, with the module that has it."""
    found: dict[str, tuple[str, Abuse]] = {}
    for module in MODULES:
        rows: Sequence[Abuse] = import_module(f"benchmarks.{module}").ABUSES
        found |= {row.name: (module, row) for row in rows}
    return found


def run(*, quick: bool, only: Sequence[str] = ()) -> Iterator[Ratio]:
    """Measure every abuse, or ``only`` those named."""
    samples = 60 if quick else 200
    with TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name) / "data"
        victim, world = _start(stack, folder)
        victim.measure(20)  # warm-up
        for label, (module, abuse) in abuses().items():
            if only and label not in only:
                continue
            idle = victim.measure(samples)
            with launcher("abuser", module, label, world.write()):
                time.sleep(abuse.settle_s)
                busy = victim.measure(samples)
            yield from _rows(label, busy, idle)
            victim.wait_until_quiet()


def _rows(
    label: str, busy: Mapping[str, list[float]], idle: Mapping[str, list[float]]
) -> Iterator[Ratio]:
    for what in busy:
        for share in (0.5, 0.99):
            ours, theirs = _percentile(busy[what], share), _percentile(idle[what], share)
            yield Ratio(
                part="abuse",
                case=f"{label}: another tenant's {what}, p{share * 100:g}",
                against="idle",
                value=ours / theirs,
                ours=ours * 1000,
                theirs=theirs * 1000,
                target=TARGET if share > 0.9 else None,
                unit="wall",
            )


def _percentile(found: Sequence[float], share: float) -> float:
    return sorted(found)[min(len(found) - 1, int(len(found) * share))]


class Victim:
    """The other tenant: makes holds and lists a home, one request after the other."""

    def __init__(self, world: World, principal: str, key: str, device: tuple[str, str]) -> None:
        self._api, self._caldav = Connection(world.api), Connection(world.caldav)
        self._principal = principal
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        dav = {**basic(device), "Depth": "1", "Content-Type": "application/xml"}
        self._propfind = request_bytes("PROPFIND", f"/{principal}/", _PROPS.encode(), dav)
        self._next = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

    def measure(self, samples: int) -> dict[str, list[float]]:
        """Return how long each answer took, in seconds; what is not answered counts a minute."""
        found: dict[str, list[float]] = {"hold": [], "PROPFIND": []}
        for _ in range(samples):
            self._next += timedelta(minutes=1)
            found["hold"].append(self._time(self._api, self._hold(), (201, 409)))
            found["PROPFIND"].append(self._time(self._caldav, self._propfind, (207,)))
            time.sleep(0.02)
        return found

    def wait_until_quiet(self) -> None:
        """Wait until what the abuse left behind is worked off: three quick answers in a row."""
        quick, ends = 0, time.monotonic() + 120
        while quick < 3 and time.monotonic() < ends:
            slow = max(values[0] for values in self.measure(1).values())
            quick = quick + 1 if slow < 0.1 else 0
            time.sleep(0.2)

    def _hold(self) -> bytes:
        start, end = self._next, self._next + timedelta(minutes=1)
        body = json.dumps(
            {
                "principal": self._principal,
                "start": start.isoformat(),
                "end": end.isoformat(),
                "ttl_s": 60,
            }
        )
        return request_bytes("POST", "/v1/holds", body.encode(), self._headers)

    @staticmethod
    def _time(connection: Connection, request: bytes, statuses: tuple[int, ...]) -> float:
        began = time.perf_counter()
        try:
            answer = connection.send(request)
        except (OSError, Refused):
            connection.close()
            return 60.0
        if answer.status not in statuses:
            return 60.0
        return time.perf_counter() - began


def _start(stack: ExitStack, folder: Path) -> tuple[Victim, World]:
    """Start both parts over two tenants: the abuser's with 200 people, the victim's with one."""
    filled = fill(folder, calendars(2_000))
    database = Database(f"sqlite:///{(folder / 'gateway.sqlite3').absolute()}")
    try:
        with database.write() as session:
            people = [
                add_person(session, filled.principal_id, f"Person {number}")[0]
                for number in range(199)
            ]
            key = add_key(session, filled.principal_id)
            other, device = add_person(session, None, "Victim")
            other_key = add_key(session, other)
    finally:
        database.close()
    caldav = stack.enter_context(gateway_part("caldav", folder))
    api = stack.enter_context(gateway_part("api", folder))
    world = World(
        api=api.address("api"),
        caldav=caldav.address("caldav"),
        folder=str(folder),
        key=key,
        principals=(filled.principal_id, *people),
        mirror=filled.mirrors[0],
        device=filled.device,
        platform=filled.platform,
    )
    return Victim(world, other, other_key, device), world
