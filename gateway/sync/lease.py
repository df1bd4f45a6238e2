"""Holding an account: one run at a time in this process, one process at a time (sync.md)."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from gateway.core.errors import PassingConflict
from gateway.store.accounts import accounts, leases
from gateway.sync.context import SyncContext

WAIT_S = 30.0
"""How long a caller waits for an account that another process works on."""

WANTED_S = 5.0
"""How long a word to the holder that somebody waits is good for; it is said again meanwhile."""

_RETRY_S = 0.1


class Lease:
    """A lease in the database, renewed while it is held.

    ``released`` is set by whoever gave it back in a unit of its own; else the end of
    :func:`leased` does. Should it be lost, the task that holds it is cancelled.
    """

    def __init__(self, context: SyncContext, connection_id: str) -> None:
        self.released = False
        self._context = context
        self._connection_id = connection_id
        self._holder = asyncio.current_task()
        self._budget = context.budget(connection_id)
        self._budget.report = self._renew_lease
        self._renewal: asyncio.Task[None] | None = None
        self._timer = self._wait()

    def _wait(self) -> asyncio.TimerHandle:
        delay = self._context.settings.lease_s / 3
        return asyncio.get_running_loop().call_later(delay, self._start_renewal)

    def _start_renewal(self) -> None:
        self._renewal = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        await self._renew_lease()
        self._timer = self._wait()

    async def _renew_lease(self) -> None:
        """Prolong the lease and tell what was asked; if it was lost, the holder is cancelled."""
        kept = await self._context.store.write_repeatable(
            leases.renew_lease,
            self._connection_id,
            owner=self._context.owner,
            now=self._context.clock(),
            lease_s=self._context.settings.lease_s,
            spent=self._budget.dump(),
        )
        if kept or self.released:
            return
        if self._holder is not None:
            self._holder.cancel("the lease was lost")

    async def close(self) -> None:
        """Stop renewing; give the lease back unless that was done already."""
        self._timer.cancel()
        self._budget.report = None
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if not self.released:
            await self._context.store.write_repeatable(
                leases.free_lease,
                self._connection_id,
                owner=self._context.owner,
                spent=self._budget.dump(),
            )


@asynccontextmanager
async def leased(
    context: SyncContext, connection_id: str, *, wait_s: float = WAIT_S, makes_way: bool = False
) -> AsyncIterator[Lease]:
    """Hold an account, waiting for whoever has it.

    Who waits is known to the holder, whose pushes end as soon as one is done. With ``makes_way``
    the account is left to those who wait to read it: for pushes.

    Raises :class:`StateConflict` ``sync-running`` when it stays leased elsewhere, and
    :class:`NotFound` for an unknown connection.
    """
    async with context.lock(connection_id):
        await _take(context, connection_id, wait_s, makes_way=makes_way)
        spent = await context.store.read(leases.recent_requests, connection_id)
        context.budget(connection_id).restore(spent)
        async with _kept(context, connection_id) as lease:
            yield lease


@asynccontextmanager
async def claimed(context: SyncContext, connection_id: str) -> AsyncIterator[Lease]:
    """Hold an account that was leased to this process already, when it was found due.

    A run of this process may have been faster; reading the account tells whether it is held still.
    """
    async with context.lock(connection_id), _kept(context, connection_id) as lease:
        yield lease


@asynccontextmanager
async def _kept(context: SyncContext, connection_id: str) -> AsyncIterator[Lease]:
    lease = Lease(context, connection_id)
    try:
        yield lease
    finally:
        await _completed(lease.close())


async def _completed(work: Coroutine[None, None, None]) -> None:
    """Await ``work`` to its end even while being cancelled: a lease must not be left behind."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _take(
    context: SyncContext, connection_id: str, wait_s: float, *, makes_way: bool
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    told_until = 0.0
    while not await context.store.write_repeatable(
        leases.try_lease,
        connection_id,
        owner=context.owner,
        now=context.clock(),
        lease_s=context.settings.lease_s,
        makes_way=makes_way,
    ):
        await context.store.read(accounts.get_connection, connection_id)
        if loop.time() >= deadline:
            raise PassingConflict(
                "This account is being synced elsewhere; try again in a moment.",
                code="sync-running",
                retry_after_s=2.0,
            )
        if not makes_way and loop.time() >= told_until:
            until = context.clock() + WANTED_S
            await context.store.write_repeatable(leases.want, connection_id, until=until)
            told_until = loop.time() + WANTED_S / 2
        await asyncio.sleep(_RETRY_S)
