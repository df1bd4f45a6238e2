"""A worker process that dies between any two steps, and the next one that takes over.

A *step* is a write unit of the store or a request to iCloud: between two steps nothing changes
that another process could see, so these are all the moments at which dying makes a difference.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from sqlalchemy import select

from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.tables import push_ledger
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import Worker


class Crash(BaseException):
    """The process is gone; nothing catches this."""


@dataclass
class Fuse:
    """Counts steps; before step ``at`` it runs ``then``, or kills the process without one."""

    at: int | None = None
    then: Callable[[], None] | None = None
    steps: int = 0
    dead: bool = False

    @property
    def is_armed(self) -> bool:
        """Whether something is still to happen."""
        return self.at is not None and self.steps < self.at and not self.dead

    def step(self) -> None:
        """One step is about to be taken."""
        self.check()
        self.steps += 1
        if self.steps == self.at:
            if self.then is None:
                self.dead = True
                raise Crash
            self.then()

    def check(self) -> None:
        """Raise when the process is dead already."""
        if self.dead:
            raise Crash

    def set(self, at: int | None, then: Callable[[], None] | None = None) -> None:
        """Count anew."""
        self.at, self.then, self.steps = at, then, 0


class BrittleThreads(StoreThreads):
    """The store as a dying process sees it."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database)
        self._fuse = fuse

    async def read(self, function, *args, **kwargs):
        """Read, while alive."""
        self._fuse.check()
        return await super().read(function, *args, **kwargs)

    async def write(self, function, *args, **kwargs):
        """Write, which is a step."""
        self._fuse.step()
        return await super().write(function, *args, **kwargs)


class Process:
    """One worker process on a database; :meth:`replace` it after a crash."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        clock: Callable[[], float],
        *,
        beside: "Process | None" = None,
    ) -> None:
        self._parts = (settings, database, keyring, clock)
        self.allowed: set[str] = beside.allowed if beside else set()
        """Upstream names the ledger held at the moment something was written under them (R13)."""
        self.random: Random = beside.random if beside else Random(0)
        """The dice of every process on this database, so that a life can be repeated."""
        self._start()

    def _start(self) -> None:
        settings, database, keyring, clock = self._parts
        self.fuse = Fuse()
        self._threads = BrittleThreads(database, self.fuse)
        self.context = SyncContext(settings, self._threads, keyring, clock=clock)
        self.context.random = self.random
        send = self.context.wire.request

        async def request(method, url, *more):
            self.fuse.step()
            if method in ("PUT", "DELETE"):
                self._note_name(database, url.rpartition("/")[2])
            return await send(method, url, *more)

        self.context.wire.request = request
        self.worker = Worker(self.context)

    def _note_name(self, database: Database, name: str) -> None:
        query = select(push_ledger.c.id).where(push_ledger.c.upstream_name == name)
        with database.read() as session:
            if session.execute(query).first() is not None:
                self.allowed.add(name)

    async def replace(self) -> None:
        """Bury the process and start the next one; leases are left to run out."""
        self.fuse.dead = True
        await self.close()
        self._start()

    async def round(self) -> bool:
        """Run what is due; False when the process died of it."""
        try:
            await self.worker.tick()
        except Crash:
            return False
        running = list(self.worker._tasks.values())
        await asyncio.gather(*running, return_exceptions=True)
        return not self.fuse.dead

    async def close(self) -> None:
        """Stop it; what it had under way is not finished."""
        writer = self.context.idle_runs._writer
        tasks = [*self.worker._tasks.values(), *([writer] if writer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.context.close()
        self._threads.close()
