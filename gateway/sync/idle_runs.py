"""Idle runs of many accounts end together: one unit of work for all that end at about one time."""

import asyncio

from gateway.isolation import EVERYBODYS
from gateway.store.accounts import runs
from gateway.store.accounts.runs import IdleEnd
from gateway.store.threads import StoreThreads

GATHER_S = 0.01
"""How long the first waits for others; nobody notices, and a unit of work costs more than that."""


_Waiting = tuple[IdleEnd, int, asyncio.Future[bool]]


class IdleRuns:
    """Collects the ends of idle runs and writes them in one unit."""

    def __init__(self, store: StoreThreads, owner: str, *, gather_s: float = GATHER_S) -> None:
        self._store = store
        self._gather_s = gather_s
        self._owner = owner
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def note(self, end: IdleEnd, *, now: int) -> bool:
        """Write the end of an idle run; False when there is something to read after all.

        Raises what the store raises. What one of a unit raises the others do not hear: each is
        then written alone.
        """
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((end, now, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await written

    async def _write(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._gather_s)
                await self._write_batch()
        except BaseException as error:  # the writer is being stopped: nobody may wait for it
            _tell(self._waiting, error)
            self._waiting = []
            raise

    async def _write_batch(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            await self._write_together(batch)
        except EVERYBODYS as error:
            _tell(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _tell(batch, error)
            else:
                await self._write_one_by_one(batch)
        except BaseException as error:
            _tell(batch, error)
            raise

    async def _write_one_by_one(self, batch: list[_Waiting]) -> None:
        for one in batch:
            try:
                await self._write_together([one])
            except Exception as error:
                _tell([one], error)

    async def _write_together(self, batch: list[_Waiting]) -> None:
        done = await self._store.write_repeatable(
            runs.note_idle,
            [end for end, _, _ in batch],
            owner=self._owner,
            now=min(now for _, now, _ in batch),
        )
        for end, _, written in batch:
            if not written.done():
                written.set_result(end.connection.id in done)


def _tell(batch: list[_Waiting], error: BaseException) -> None:
    for _, _, written in batch:
        if not written.done():
            written.set_exception(error)
