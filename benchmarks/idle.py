"""What it costs to ask iCloud whether anything changed, when nothing did.

Ours is the worker's whole round: find the due accounts, lease each, ask, compare, note the time.
Theirs is a bare aiohttp request with the same body, its answer parsed by lxml. The answers are
replayed by another process, so that thousands of accounts cost nothing but our own work.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import aiohttp
from lxml import etree

from benchmarks.load import Connection, basic, request_bytes
from benchmarks.measure import Ratio, median_ratio
from benchmarks.servers import Server, launcher
from gateway.cli.commands.setup import initialise
from gateway.observe import set_up_logging
from gateway.services.accounts.listing import apply_listing
from gateway.services.accounts.roles import set_calendar_roles
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.engine import Database, Session
from gateway.store.threads import StoreThreads
from gateway.sync.connect import ask_account
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import Worker
from gateway.upstream.discovery import Discovered

FEW, MANY = 200, 2000
BARE = "aiohttp request + lxml"
RHYTHM_S = 240
_AT_ONCE = 16


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure with 200 accounts, and with 2,000 unless ``quick``."""
    set_up_logging(level="WARNING", style="console")
    with launcher("replay") as server:
        yield from asyncio.run(_measure(server, quick=quick))


async def _measure(server: Server, *, quick: bool) -> list[Ratio]:
    few, bare, many = [], [], []
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(_account_holder(server, FEW))
        ask = await stack.enter_async_context(_bare(server))
        crowd = None if quick else await stack.enter_async_context(_account_holder(server, MANY))
        for turn in range(-1, 3 if quick else 6):
            # Some before and some after the many, so that a change of the machine's mood counts for
            # both.
            ours = [await world.poll_all(server) for _ in range(1 if quick else 3)]
            theirs = await ask(FEW)
            if turn >= 0:
                few.append(median(ours))
                bare.append(theirs)
            if crowd is not None:
                cost = await crowd.poll_all(server)
                ours += [await world.poll_all(server) for _ in range(3)]
                if turn >= 0:
                    many.append((cost, median(ours)))
    found = [_line("idle poll", BARE, few, bare, 3.0)]
    if many:
        crowded, beside = ([pair[side] for pair in many] for side in (0, 1))
        against = f"{FEW:,} accounts, in turns"
        found.append(_line(f"idle poll, {MANY:,} accounts", against, crowded, beside, 1.1))
    carried = RHYTHM_S / median(few)
    unit = f"accounts a core polls every {RHYTHM_S // 60} minutes"
    return [*found, Ratio("idle", "idle poll", "one core", carried, unit=unit)]


def _line(case: str, against: str, ours: list[float], theirs: list[float], target: float) -> Ratio:
    value = median_ratio(ours, theirs)
    best = min(ours) * 1000, min(theirs) * 1000
    return Ratio("idle", case, against, value, *best, per="poll", target=target)


# --- ours ---


@dataclass
class Accounts:
    """Connected accounts of which nothing is ever new, and a worker with a clock of its own."""

    settings: Settings
    count: int
    offset: float = 0.0
    context: SyncContext = field(init=False)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        threads = StoreThreads(Database(self.settings.database))
        keyring = Keyring.load(self.settings.keyring)
        self.context = SyncContext(
            self.settings, threads, keyring, clock=lambda: time.time() + self.offset
        )
        self.worker = Worker(self.context)

    async def poll_all(self, server: Server) -> float:
        """Let every account fall due, poll them; return the CPU seconds of one poll."""
        self.offset += 2 * self.settings.poll_idle_s
        asked = _count(server)
        began = time.process_time()
        while await self.worker.tick():
            await self.worker.idle()
        cost = time.process_time() - began
        if _count(server) - asked != self.count:
            raise RuntimeError(f"{_count(server) - asked} requests for {self.count} idle polls")
        return cost / self.count


@asynccontextmanager
async def _account_holder(server: Server, count: int) -> AsyncIterator[Accounts]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(
            data_dir=Path(folder),
            upstream_url=server.ready["url"],
            upstream_allow_loopback=True,
            upstream_requests_per_minute=1_000_000,
        )
        initialise(settings)
        world = Accounts(settings, count)
        credential = Credential(server.ready["email"], server.ready["app_password"])
        at_cloud = settings.model_copy(update={"upstream_url": server.ready["cloud"]})
        discovered = await ask_account(at_cloud, credential)
        for first in range(0, count, 100):
            await world.context.store.write(_connect, world.context, discovered, first)
        try:
            yield world
        finally:
            await world.worker.close()
            await world.context.close()
            world.context.store.close()


def _connect(session: Session, context: SyncContext, discovered: Discovered, first: int) -> None:
    """Make a hundred principals whose accounts are in step with what the replay says."""
    now = context.now()
    subaccount = principals.create_subaccount(session, name="Practice", now=now)
    for number in range(first, first + 100):
        own = _renumbered(discovered, str(20_000_000_000 + number))
        email = f"person{number}@icloud.com"
        principal = principals.create_principal(
            session, subaccount_id=subaccount.id, name=email, time_zone="Europe/Berlin", now=now
        )
        connection = accounts.create_connection(
            session,
            context.keyring,
            principal_id=principal.id,
            credential=Credential(email, "abcd-efgh-ijkl-mnop"),
            account_number=own.account_number,
            principal_path=own.principal_path,
            home_path=own.home_path,
            addresses=[email],
            trust_for_s=86_400,
            now=now,
        )
        listed = apply_listing(session, connection.id, own.calendars, now=now)
        usable = [one.id for one in listed if one.linkable]
        set_calendar_roles(session, principal.id, linked=usable[0], conflicts=usable[1:], now=now)
        for one in listed:
            in_step = {"ctag": one.listed_ctag, "sync_token": one.listed_token}
            calendars.update_calendar(session, one.id, state="ok", synced_at=now, **in_step)


def _renumbered(discovered: Discovered, number: str) -> Discovered:
    def mine(path: str) -> str:
        return path.replace(discovered.account_number, number)

    return replace(
        discovered,
        account_number=number,
        principal_path=mine(discovered.principal_path),
        home_path=mine(discovered.home_path),
        calendars=tuple(replace(one, path=mine(one.path)) for one in discovered.calendars),
    )


# --- theirs ---


@asynccontextmanager
async def _bare(server: Server) -> AsyncIterator[Callable[[int], "asyncio.Future[float]"]]:
    """Yield a function that asks so many times and returns the CPU seconds of one time."""
    login = (server.ready["email"], server.ready["app_password"])
    headers = {**basic(login), "Depth": "1", "Content-Type": "application/xml"}
    url = f"{server.ready['url']}{server.ready['number']}/calendars/"
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

        async def one(body: bytes) -> int:
            async with session.request("PROPFIND", url, data=body) as answer:
                return len(etree.fromstring(await answer.read()))

        async def ask(times: int) -> float:
            body = _fetch(server, "/last")
            began = time.process_time()
            sizes = await asyncio.gather(*(one(body) for _ in range(times)))
            cost = time.process_time() - began
            assert min(sizes) > 5
            return cost / times

        yield lambda times: asyncio.ensure_future(ask(times))


def _fetch(server: Server, path: str) -> bytes:
    connection = Connection(server.address("url"))
    answer = connection.send(request_bytes("GET", path))
    connection.close()
    return answer.body


def _count(server: Server) -> int:
    return int(_fetch(server, "/count"))
