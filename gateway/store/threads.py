"""The only asyncio file of the store: run a function of a unit of work in a thread.

Reads share a small pool; writes go through one thread, so that coroutines of one process never
queue inside the database. A cancelled caller does not stop a running unit: it commits or rolls
back by itself.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from gateway.store.engine import Database, Session

P = ParamSpec("P")
T = TypeVar("T")


class StoreThreads:
    """Runs store functions for coroutines; ``close`` waits for running units."""

    def __init__(self, database: Database, *, readers: int = 4) -> None:
        self.database = database
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="store-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")

    async def read(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await ``function(session, …)`` in a read unit."""

        def unit() -> T:
            with self.database.read() as session:
                return function(session, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, unit)

    async def write(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await ``function(session, …)`` in a write unit; it has committed on return."""

        def unit() -> T:
            with self.database.write() as session:
                return function(session, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._writer, unit)

    async def write_repeatable(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like :meth:`write`, for work that is simply done again if a power cut took it back.

        It does not wait for the disk: nobody outside may be told that it was done.
        """

        def unit() -> T:
            with self.database.write(repeatable=True) as session:
                return function(session, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._writer, unit)

    def close(self) -> None:
        """Stop taking work and wait for the units that run."""
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
