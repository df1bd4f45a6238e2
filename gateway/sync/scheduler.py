"""Who is synced when: due accounts are claimed from the database and run, a few at a time.

Any number of processes do this side by side: an account is leased to one of them, and a lease
that is not renewed runs out. Due times, back-off and leases live in the database.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from gateway.core.errors import GatewayError, StateConflict
from gateway.isolation import Isolation, keep_going
from gateway.observe import logger
from gateway.store.accounts import leases, runs
from gateway.store.accounts.runs import OpenedAccount
from gateway.store.engine import Session
from gateway.store.operations.heartbeats import ALIVE_FOR_S
from gateway.store.outbox import outbox
from gateway.sync import renew
from gateway.sync.context import SyncContext
from gateway.sync.erasures import erase_next
from gateway.sync.lease import claimed, leased
from gateway.sync.outcome import backoff_delay
from gateway.sync.renew import renew_batch
from gateway.sync.report import Progress, SyncReport
from gateway.sync.run import Mode, run_account, sync_account
from gateway.sync.windows import extend_asked, extend_windows

__all__ = ["Progress", "SyncReport", "Worker", "sync_account"]

T = TypeVar("T")

TICK_S = 1.0
"""How often the outbox and the due times are looked at."""

RENEW_S = 600.0
"""How often is looked for objects of an earlier engine once none was left."""

WINDOWS_S = 5.0
"""How often is looked for principals whose instances end too early."""

ASKED_S = 0.2
"""How often is looked for questions that wait: a read of a table that is nearly always empty."""

READING = Mode(read_only=True)
PUSHING = Mode(push_only=True)
IF_DUE = Mode(only_if_due=True)

_log = logger("sync")


async def _pause(until: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(until.wait(), seconds)


class Worker:
    """Keeps accounts in step; :meth:`run` until told to stop, or :meth:`tick` by hand."""

    def __init__(self, context: SyncContext, *, tick_s: float = TICK_S) -> None:
        self.context = context
        self._tick_s = tick_s
        self._itself = Isolation("worker")
        self._looked_at = time.monotonic()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()  # a slot was given back since the last look
        self._waiting: dict[str, asyncio.Task[SyncReport]] = {}
        self._reading: set[asyncio.Task[SyncReport]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; what was not finished is repeated by the next worker."""
        windows = asyncio.create_task(keep_going("windows", self._move_windows, stop=stop))
        renewal = asyncio.create_task(keep_going("renewal", self._renew, stop=stop))
        asked = asyncio.create_task(keep_going("horizons", self._extend_asked, stop=stop))
        erasures = asyncio.create_task(keep_going("erasures", self._erase, stop=stop))
        while not stop.is_set():
            self._ended.clear()
            is_full = False
            try:
                is_full = (await self._fill())[1]
                self._itself.succeeded("fill")
            except Exception as error:  # whatever it was, the next look may find it over
                self._itself.failed("fill", error)
            # With all slots taken there may be more to do: the next one to end makes room for it,
            # be it one that ended while the last was being started.
            await _pause(self._ended if is_full else stop, self._tick_s)
        await asyncio.gather(windows, renewal, asked, erasures, self.close())

    async def _move_windows(self) -> float:
        """Keep instances ahead of the clock (sync.md); beside the accounts, never before them."""
        return 0.0 if await extend_windows(self.context) else WINDOWS_S

    async def _extend_asked(self) -> float:
        """Expand what a CalDAV process asks for, soon enough for who waits a second for it."""
        return 0.0 if await extend_asked(self.context) else ASKED_S

    async def _renew(self) -> float:
        """Expand anew what an earlier engine expanded; nearly always nothing is left of it."""
        return renew.PAUSE_S if await renew_batch(self.context) else RENEW_S

    async def _erase(self) -> float:
        """Erase what was hidden, a piece at a time."""
        return await erase_next(self.context)

    @property
    def is_working(self) -> bool:
        """Whether it could look for due accounts lately: a loop that only fails is no worker."""
        return time.monotonic() - self._looked_at < ALIVE_FOR_S

    async def tick(self) -> int:
        """Start what is due; returns how many accounts were started."""
        return (await self._fill())[0]

    async def _fill(self) -> tuple[int, bool]:
        """Start what is due, as far as slots are free.

        Returns how many accounts were started, and whether more may be due than there was room for.
        """
        free = self.context.settings.sync_slots - len(self._tasks)
        if free <= 0:
            self._looked_at = time.monotonic()
            return 0, True
        now = self.context.clock()
        started = 0
        store = self.context.store
        sending = partial(store.read, outbox.connections_with_messages, now=now)
        for connection_id in await self._half("pushes", sending) or ():
            if connection_id not in self._tasks and started < free:
                self._start(connection_id, partial(self._push, connection_id))
                started += 1
        room = free - started
        claiming = partial(store.write, _claim, self.context, now=now, limit=room)
        claimed_now = await self._half("polls", claiming)
        if claimed_now is not None:
            self._looked_at = time.monotonic()
        due = claimed_now or {}
        for connection_id, opened in due.items():
            if connection_id not in self._tasks:
                self._start(connection_id, partial(self._sync, connection_id, opened))
                started += 1
        return started, len(due) >= room

    async def _half(self, name: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do one half of a tick; should it fail, the other goes on and it rests a moment."""
        return None if name in self._itself.resting else await self._itself.run(name, work)

    async def idle(self) -> None:
        """Wait until all started accounts are done."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Stop the running accounts; what they had not finished is repeated by the next worker.

        All leases are given back: to whoever comes next, one that was not is a run that was lost.
        """
        held = list(self._tasks)
        for task in (*self._tasks.values(), *self._reading):
            task.cancel()
        await self.idle()
        await asyncio.gather(*self._reading, return_exceptions=True)
        if held:  # a run that was stopped before it began has given nothing back
            await self.context.store.write(leases.free_leases, held, owner=self.context.owner)

    async def sync_now(
        self, connection_id: str, *, progress: Callable[[Progress], None] | None = None
    ) -> SyncReport:
        """Read one account at once; callers that wait for the same run share it.

        A run that began before the call does not count: it may have looked already. Pushes make
        way, and none is sent: see :meth:`push_now`.
        """
        task = self._waiting.get(connection_id)
        if task is None:
            task = asyncio.create_task(self._sync_in_turn(connection_id, progress))
            self._waiting[connection_id] = task
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        return await asyncio.shield(task)

    async def _sync_in_turn(
        self, connection_id: str, progress: Callable[[Progress], None] | None
    ) -> SyncReport:
        try:
            with self.context.reading(connection_id):
                async with leased(self.context, connection_id) as lease:
                    # From here on a new caller needs a new run.
                    self._waiting.pop(connection_id, None)
                    return await run_account(
                        self.context, connection_id, lease, progress=progress, mode=READING
                    )
        finally:
            if self._waiting.get(connection_id) is asyncio.current_task():
                del self._waiting[connection_id]

    async def push_now(self, connection_id: str, *, within_s: float) -> int:
        """Send what is due, beginning no push after ``within_s``; returns how many were sent.

        The rest goes up by itself. Nothing is sent while another process has the account: it does.
        """
        with suppress(StateConflict):
            async with leased(
                self.context, connection_id, wait_s=within_s, makes_way=True
            ) as lease:
                report = await run_account(
                    self.context,
                    connection_id,
                    lease,
                    mode=Mode(push_only=True, push_within_s=within_s),
                )
                return report.pushed
        return 0

    # --- one account ---

    def _start(self, connection_id: str, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(self._guarded(connection_id, work))
        self._tasks[connection_id] = task
        task.add_done_callback(lambda _: self._give_back(connection_id))

    def _give_back(self, connection_id: str) -> None:
        self._tasks.pop(connection_id, None)
        self._ended.set()

    async def _guarded(self, connection_id: str, work: Callable[[], Awaitable[None]]) -> None:
        """Catch everything: one account's trouble never stops the others."""
        try:
            await work()
        except GatewayError as error:
            _log.warning("run failed", connection=connection_id, code=error.code)
            await self._postpone(connection_id)
        except Exception:
            _log.exception("run crashed", connection=connection_id)
            await self._postpone(connection_id)

    async def _postpone(self, connection_id: str) -> None:
        """Whatever went wrong, do not come back at once."""
        due = self.context.clock() + self.context.settings.poll_active_s
        try:
            await self.context.store.write_repeatable(
                leases.postpone_sync, connection_id, next_sync_at=due
            )
        except GatewayError as error:
            _log.warning("cannot postpone", connection=connection_id, code=error.code)

    async def _sync(self, connection_id: str, opened: OpenedAccount | None) -> None:
        """Run an account as claimed; should another run of this process be at it, read it anew."""
        is_stale = self.context.lock(connection_id).locked()
        async with claimed(self.context, connection_id) as lease:
            await run_account(
                self.context,
                connection_id,
                lease,
                opened=None if is_stale else opened,
                mode=IF_DUE,
            )

    async def _push(self, connection_id: str) -> None:
        """Send what is due; when another process has the account, it sends too."""
        with suppress(StateConflict):
            async with leased(self.context, connection_id, wait_s=0, makes_way=True) as lease:
                await run_account(self.context, connection_id, lease, mode=PUSHING)


def _claim(
    session: Session, context: SyncContext, *, now: float, limit: int
) -> dict[str, OpenedAccount | None]:
    """Lease due accounts to this process and read all their runs need, in one unit.

    None stands for one that could not be read among the others: its own run says why.
    """
    ids = leases.claim_due(
        session,
        owner=context.owner,
        now=now,
        lease_s=context.settings.lease_s,
        limit=limit,
        backoff=partial(backoff_delay, context),
    )
    readable = {one.connection.id: one for one in runs.open_accounts(session, context.keyring, ids)}
    return {connection_id: readable.get(connection_id) for connection_id in ids}
