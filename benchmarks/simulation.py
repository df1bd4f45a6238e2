"""The real scheduler over many accounts, with nothing but the poll itself replaced by a wait.

Due times, jitter, leases and the ends of runs are those of :class:`gateway.sync.scheduler.Worker`,
in a real database. The clock is virtual: a minute takes as long as its units of work take.
"""

import asyncio
import heapq
from dataclasses import dataclass, field
from itertools import count
from random import Random

from gateway.store.access import principals
from gateway.store.accounts import accounts, leases
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.accounts.runs import IdleEnd, OpenedAccount
from gateway.store.engine import Session
from gateway.sync import outcome
from gateway.sync.context import SyncContext
from gateway.sync.idle_runs import IdleRuns
from gateway.sync.lease import claimed
from gateway.sync.scheduler import TICK_S, Worker

START = 1_790_000_000.0
POLL_S = (0.2, 1.5)
"""How long a poll of iCloud takes, from and to."""


class VirtualClock:
    """UTC epoch seconds that pass when told to; who sleeps wakes in the order of times."""

    def __init__(self, now: float = START) -> None:
        self.now = now
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    @property
    def asleep(self) -> int:
        """How many wait."""
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved on so far."""
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), awake))
        await awake

    def advance(self, seconds: float) -> None:
        """Move on; whoever wakes up meanwhile sees the end of the step."""
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            heapq.heappop(self._sleepers)[2].set_result(None)


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll: which account, when it began and when its end was written (epoch seconds)."""

    connection_id: str
    began: float
    ended: float


@dataclass
class SimulatedWorker(Worker):
    """A worker whose polls wait on the virtual clock and find nothing new."""

    context: SyncContext
    clock: VirtualClock
    random: Random
    polls: list[Poll] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.context)
        runs = IdleRuns(self.context.store, self.context.owner, gather_s=0)
        self.context.idle_runs = runs

    async def run_for(self, seconds: float) -> None:
        """Tick every second of the virtual clock."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            await self.tick()
            await self._settled()
            self.clock.advance(TICK_S)
            await self._settled()

    async def _settled(self) -> None:
        """Wait until every running account waits for the clock."""
        while len(self._tasks) > self.clock.asleep:
            await asyncio.sleep(0.0005)

    async def _sync(self, connection_id: str, opened: OpenedAccount | None) -> None:
        """Hold the account as long as a poll takes and write its end, as an idle run does."""
        assert opened is not None, connection_id
        connection = opened.connection
        async with claimed(self.context, connection.id) as lease:
            began = self.clock.now
            await self.clock.sleep(self.random.uniform(*POLL_S))
            due = self.context.clock() + outcome.poll_delay(self.context, connection)
            ending = IdleEnd(connection, due)
            lease.released = await self.context.idle_runs.note(ending, now=self.context.now())
            self.polls.append(Poll(connection.id, began, self.clock.now))


def connect_many(
    session: Session, keyring: Keyring, *, hot: int, idle: int, now: int
) -> tuple[list[str], list[str]]:
    """Store accounts that fall due one after another within a minute, or four when idle.

    Returns the ids of those in use and of the idle.
    """
    subaccount = principals.create_subaccount(session, name="Practice", now=now)
    ids: list[str] = []
    in_use: list[str] = []
    for number in range(hot + idle):
        email = f"person{number}@icloud.com"
        principal = principals.create_principal(
            session, subaccount_id=subaccount.id, name=email, time_zone="Europe/Berlin", now=now
        )
        connection = accounts.create_connection(
            session,
            keyring,
            principal_id=principal.id,
            credential=Credential(email, "abcd-efgh-ijkl-mnop"),
            account_number=str(20_000_000_000 + number),
            principal_path=f"/{number}/principal/",
            home_path=f"/{number}/calendars/",
            addresses=[email],
            trust_for_s=86_400,
            now=now,
        )
        accounts.update_connection(
            session,
            connection.id,
            next_sync_at=now + (number % 60 if number < hot else number % 240),
        )
        ids.append(connection.id)
        in_use += [principal.id] if number < hot else []
    leases.note_active(session, in_use, until=now + 10 * 86_400, due_at=now + 60)
    return ids[:hot], ids[hot:]


def delays(
    polls: list[Poll], connection_ids: list[str], *, every_s: float, seed: int, until: float
) -> list[float]:
    """Return how long edits at random times stay unseen: until a poll that began later has ended.

    ``every_s`` seconds lie between two edits of an account on average; edits after ``until`` are
    left out, which must be long enough before the last poll.
    """
    random = Random(seed)
    by_account: dict[str, list[Poll]] = {connection_id: [] for connection_id in connection_ids}
    for poll in polls:
        if poll.connection_id in by_account:
            by_account[poll.connection_id].append(poll)
    found: list[float] = []
    for own in by_account.values():
        own.sort(key=lambda poll: poll.began)
        at, index = START + random.expovariate(1 / every_s), 0
        while at < until:
            while own[index].began < at:
                index += 1
            found.append(own[index].ended - at)
            at += random.expovariate(1 / every_s)
    return found


def percentile(values: list[float], share: float) -> float:
    """Return what this share of the values stays below."""
    return sorted(values)[int(len(values) * share)]
