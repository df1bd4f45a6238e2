"""How long after an edit on the phone free/busy tells of it, in seconds of a clock that jumps.

Two ways. Twenty accounts in use and eighty idle ones over HTTP to the look-alike: the clock jumps
over the seconds in which nobody works, and real work takes its real time. And a thousand accounts
with the real scheduler alone (:mod:`benchmarks.simulation`).
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from random import Random

from benchmarks.measure import Ratio
from benchmarks.simulation import SimulatedWorker, VirtualClock, connect_many, delays, percentile
from gateway.cli.commands.setup import initialise
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.world import Account, World
from gateway.observe import set_up_logging
from gateway.services.accounts.roles import set_calendar_roles
from gateway.services.availability import free_busy
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.access.principals import Principal
from gateway.store.accounts import calendars, leases
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database, Session
from gateway.store.objects import objects
from gateway.store.threads import StoreThreads
from gateway.sync.connect import connect
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import TICK_S, Worker

HOT, IDLE = 20, 80
MANY_HOT, MANY_IDLE = 200, 800
HOT_P95_S, IDLE_P99_S = 45.0, 300.0
HOT_EDIT_S, IDLE_EDIT_S = 600.0, 1200.0
"""Between two edits of one account, on average."""

_HOUR = 3600
_SLOTS = 480
_WAIT_S = 900.0


def run(*, quick: bool) -> Iterator[Ratio]:
    """Six virtual hours over HTTP and one simulated; half an hour of each with ``quick``."""
    set_up_logging(level="WARNING", style="console")
    hours = 0.5 if quick else 6.0
    yield from asyncio.run(_over_http(hours * _HOUR))
    yield from asyncio.run(_simulated((0.5 if quick else 1.0) * _HOUR))


def _rows(case: str, hot: list[float], idle: list[float]) -> Iterator[Ratio]:
    for who, found, share, target in (
        ("in use", hot, 0.95, HOT_P95_S),
        ("idle", idle, 0.99, IDLE_P99_S),
    ):
        yield Ratio(
            part="latency",
            case=f"{case}, accounts {who}, {len(found):,} edits",
            against=f"iCloud change to free/busy, {round(100 * share)}th percentile",
            value=percentile(found, share),
            target=target,
            unit="seconds",
        )


@asynccontextmanager
async def _context(clock: Callable[[], float], **more: object) -> AsyncIterator[SyncContext]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings.model_validate(
            {
                "data_dir": Path(folder),
                "upstream_allow_loopback": True,
                "upstream_requests_per_minute": 1_000_000,  # it counts real minutes
                **more,
            }
        )
        initialise(settings)
        threads = StoreThreads(Database(settings.database))
        context = SyncContext(
            settings, threads, Keyring.load(settings.keyring), clock=clock, random=Random(9)
        )
        try:
            yield context
        finally:
            await context.close()
            threads.close()


# --- the scheduler alone ---


async def _simulated(seconds: float) -> list[Ratio]:
    clock = VirtualClock()
    async with _context(clock) as context:
        hot, idle = await context.store.write(
            connect_many, context.keyring, hot=MANY_HOT, idle=MANY_IDLE, now=context.now()
        )
        worker = SimulatedWorker(context, clock, Random(4))
        await worker.run_for(seconds + 400)
        await worker.close()
    until = clock.now - 400
    case = f"{MANY_HOT + MANY_IDLE:,} accounts, scheduler alone"
    return list(
        _rows(
            case,
            delays(worker.polls, hot, every_s=HOT_EDIT_S, seed=1, until=until),
            delays(worker.polls, idle, every_s=IDLE_EDIT_S, seed=2, until=until),
        )
    )


# --- over HTTP ---


class JumpingClock:
    """The real time, moved forward by what was jumped over; UTC epoch seconds."""

    def __init__(self) -> None:
        self._jumped = 0.0

    def __call__(self) -> float:
        return time.time() + self._jumped

    def jump(self, seconds: float) -> None:
        """Move on at once."""
        self._jumped += max(0.0, seconds)


@dataclass
class Edit:
    """What must be seen: hours of the account that are busy or free from ``at`` on."""

    at: float
    expected: dict[int, bool]


@dataclass
class Person:
    """One account of the look-alike, edited at random, and the principal that mirrors it."""

    account: Account
    principal: Principal
    every_s: float
    first: int
    random: Random
    next_edit: float
    events: dict[str, int] = field(default_factory=dict)
    pending: list[Edit] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    generation: int = -1

    def edit(self, now: float) -> None:
        """Add, move or delete one event of an hour, as a phone does.

        Hours that free/busy has yet to tell of are left alone: an edit undone is never seen.
        """
        awaited = {slot for edit in self.pending for slot in edit.expected}
        taken = awaited.union(self.events.values())
        slot = self.random.choice([slot for slot in range(_SLOTS) if slot not in taken])
        names = [name for name, slot in self.events.items() if slot not in awaited]
        kind = self.random.choice(("add", "move", "delete")) if names else "add"
        name = f"{self.random.getrandbits(64):016x}.ics" if kind == "add" else ""
        name = name or self.random.choice(names)
        expected = {} if kind == "add" else {self.events.pop(name): False}
        if kind == "delete":
            self.account.delete("home", name)
        else:
            expected[slot] = True
            self.events[name] = slot
            self.account.put("home", _event(name, self.first + slot * _HOUR), name)
        self.pending.append(Edit(now, expected))
        self.next_edit = now + self.random.expovariate(1 / self.every_s)

    def see(self, session: Session, now: float) -> None:
        """Note which edits free/busy tells of."""
        if not self.pending:
            return
        generation = objects.get_extent(session, self.principal.id)[0]
        if generation == self.generation:
            return
        self.generation = generation
        window = (self.first, self.first + _SLOTS * _HOUR)
        busy = free_busy(session, self.principal, window, now=int(now)).busy
        taken = {
            slot
            for start, end, _ in busy
            for slot in range((start - self.first) // _HOUR, (end - self.first) // _HOUR)
        }
        seen = [
            edit
            for edit in self.pending
            if all((slot in taken) == there for slot, there in edit.expected.items())
        ]
        self.pending = [edit for edit in self.pending if edit not in seen]
        self.delays += [now - edit.at for edit in seen]


def _event(name: str, start: int) -> bytes:
    begin, end = (
        f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}" for at in (start, start + _HOUR)
    )
    return (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nBEGIN:VEVENT\r\n"
        f"UID:{name}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:{begin}\r\nDTEND:{end}\r\n"
        "SUMMARY:Busy\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    ).encode()


async def _over_http(seconds: float) -> list[Ratio]:
    clock = JumpingClock()
    async with (
        Lookalike(world=World(now=clock)) as server,
        _context(clock, upstream_url=server.url) as context,
    ):
        people = [await _person(context, server, n, hot=n < HOT) for n in range(HOT + IDLE)]
        worker = Worker(context)
        await _drive(worker, people, clock, until=clock())  # the first syncs
        await _drive(worker, people, clock, until=clock() + seconds)
        await worker.close()
    hot = [delay for one in people[:HOT] for delay in one.delays]
    idle = [delay for one in people[HOT:] for delay in one.delays]
    case = f"{HOT + IDLE} accounts over HTTP, {seconds / _HOUR:g} h"
    return list(_rows(case, hot, idle))


async def _person(context: SyncContext, server: Lookalike, number: int, *, hot: bool) -> Person:
    account = server.world.add_account(f"person{number}@icloud.com")
    for calendar_id in list(account.calendars):  # fewer to list: it is not the look-alike we time
        if calendar_id != "home":
            account.drop_calendar(calendar_id)
    random, now = Random(number), int(context.clock())
    every = HOT_EDIT_S if hot else IDLE_EDIT_S

    def create(session: Session) -> Principal:
        subaccount = principals.create_subaccount(session, name="Practice", now=now)
        return principals.create_principal(
            session, subaccount_id=subaccount.id, name="Anna", time_zone="Europe/Berlin", now=now
        )

    def link(session: Session) -> None:
        listed = calendars.list_calendars(session, connection.id)
        home = next(one for one in listed if one.name == "Home")
        set_calendar_roles(session, principal.id, linked=home.id, conflicts=[], now=now)
        if hot:
            leases.note_active(session, [principal.id], until=now + 10 * 86_400, due_at=now)

    principal = await context.store.write(create)
    password = account.issue_app_password()
    connection = await connect(context, principal.id, account.email, password)
    await context.store.write(link)
    first = now - now % 86_400 + 2 * 86_400
    return Person(account, principal, every, first, random, now + random.expovariate(1 / every))


async def _drive(
    worker: Worker, people: list[Person], clock: JumpingClock, *, until: float
) -> None:
    """Run the worker tick by tick until ``until``, then on until every edit was seen."""
    while clock() < until or any(one.pending for one in people):
        began = clock()
        if began > until + _WAIT_S:
            raise RuntimeError("free/busy never told of some edits")
        for one in people if began < until else ():
            if one.next_edit <= began:
                one.edit(began)
        started = await worker.tick()
        await worker.idle()
        if started:
            await worker.context.store.read(_look, people, clock)
        else:
            due = await worker.context.store.read(_next_due)
            due = min(due, until, *(one.next_edit for one in people))
            ticks = max(1, ceil((due - began) / TICK_S))  # those between would find nothing
            clock.jump(ticks * TICK_S - (clock() - began))


def _next_due(session: Session) -> float:
    return float(session.exec_driver_sql("SELECT min(next_sync_at) FROM connections").scalar_one())


def _look(session: Session, people: list[Person], clock: JumpingClock) -> None:
    for one in people:
        one.see(session, clock())
