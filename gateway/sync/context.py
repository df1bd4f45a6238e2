"""What a sync needs from outside: built once by the composition root, handed to every function."""

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from secrets import token_hex

from gateway.expansion.worker import Expander
from gateway.isolation import Isolation
from gateway.settings import Settings
from gateway.store.accounts import leases
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.threads import StoreThreads
from gateway.sync.idle_runs import IdleRuns
from gateway.sync.refusals import Refusals
from gateway.upstream.budget import RequestBudget
from gateway.upstream.client import UpstreamClient
from gateway.upstream.fences import fenced_wire
from gateway.upstream.wire import Wire


def _owner() -> str:
    """Name this process for leases; two processes, and two starts of one, differ."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"


@dataclass
class SyncContext:
    """Settings, store, key, clock and the connections to iCloud of one process.

    ``clock`` gives UTC epoch seconds; ``owner`` is the name under which accounts are leased.
    ``calendars``, ``erasures``, ``messages``, ``members``, ``people`` and ``renewals`` remember
    what failed unforeseen. ``renewed`` tells how far a person's objects were expanded anew.
    Close it with :meth:`close`.
    """

    settings: Settings
    store: StoreThreads
    keyring: Keyring
    clock: Callable[[], float] = time.time
    owner: str = field(default_factory=_owner)
    random: Random = field(default_factory=Random)
    wire: Wire = field(init=False)
    expander: Expander = field(init=False)
    idle_runs: IdleRuns = field(init=False)
    refusals: Refusals = field(init=False, default_factory=Refusals)
    calendars: Isolation = field(init=False)
    erasures: Isolation = field(init=False)
    messages: Isolation = field(init=False)
    members: Isolation = field(init=False)
    people: Isolation = field(init=False)
    renewals: Isolation = field(init=False)
    renewed: dict[str, str] = field(init=False, default_factory=dict)
    _budgets: dict[str, RequestBudget] = field(init=False, default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(init=False, default_factory=dict)
    _readers: Counter[str] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self.wire = fenced_wire(self.settings)
        self.expander = Expander()
        self.idle_runs = IdleRuns(self.store, self.owner)
        self.calendars = Isolation("calendars", clock=self.clock)
        self.erasures = Isolation("erasures", clock=self.clock)
        self.messages = Isolation("messages", clock=self.clock)
        self.members = Isolation("members", clock=self.clock)
        self.people = Isolation("people", clock=self.clock)
        self.renewals = Isolation("renewals", clock=self.clock)

    def now(self) -> int:
        """Return the current time in whole UTC epoch seconds."""
        return int(self.clock())

    def lock(self, connection_id: str) -> asyncio.Lock:
        """Return the lock that lets one run at a time work on an account in this process."""
        return self._locks.setdefault(connection_id, asyncio.Lock())

    @contextmanager
    def reading(self, connection_id: str) -> Iterator[None]:
        """Say that somebody waits to read an account: pushes make way (R28)."""
        self._readers[connection_id] += 1
        try:
            yield
        finally:
            self._readers[connection_id] -= 1
            if not self._readers[connection_id]:
                del self._readers[connection_id]

    async def is_wanted(self, connection_id: str) -> bool:
        """Whether somebody waits to read an account, in this process or another."""
        if self._readers[connection_id]:
            return True
        return await self.store.read(leases.is_wanted, connection_id, now=self.clock())

    def budget(self, connection_id: str) -> RequestBudget:
        """Return what an account may ask; right only while this process holds its lease."""
        budget = self._budgets.get(connection_id)
        if budget is None:
            budget = self._budgets[connection_id] = RequestBudget(self.settings, self.clock)
        return budget

    def client(self, connection_id: str, credential: Credential) -> UpstreamClient:
        """Make the client of an account; all clients of one account share its request budget."""
        budget = self.budget(connection_id)
        return UpstreamClient(
            self.settings,
            self.wire,
            email=credential.email,
            app_password=credential.app_password,
            budget=budget,
        )

    async def close(self) -> None:
        """Close connections and the expansion worker."""
        await self.expander.close()
        await self.wire.close()
