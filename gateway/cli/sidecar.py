"""Builds the sidecar: one store, one sync context, and on top the API and the sync worker."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from gateway.api.app import build_api
from gateway.api.http.listener import ApiRunner
from gateway.cli.tuning import tune_interpreter
from gateway.core.errors import CannotListen, GatewayError
from gateway.isolation import keep_going
from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.operations import heartbeats
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import Worker
from gateway.sync.service import AccountService


class Sidecar:
    """The parts of one process that holds the key; use :func:`open_sidecar`."""

    def __init__(
        self, settings: Settings, database: Database, keyring: Keyring, context: SyncContext
    ) -> None:
        self.settings = settings
        self.database = database
        self.keyring = keyring
        self.context = context
        self.worker = Worker(context)
        self.accounts = AccountService(context, self.worker)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[str]:
        """Serve the API on ``api_bind`` and yield its URL; port 0 is any free one."""
        app = build_api(self.settings, self.database, self.keyring, sync=self.accounts)
        runner = ApiRunner(app)
        await runner.setup()
        try:
            host, _, port = self.settings.api_bind.rpartition(":")
            try:
                await runner.listen(host.strip("[]"), int(port))
            except (OSError, OverflowError) as error:
                reason = error if isinstance(error, OSError) else OSError(str(error))
                raise CannotListen.at(self.settings.api_bind, "api_bind", reason) from error
            bound = runner.addresses[0]
            async with self._beating("api", lambda: True):
                yield f"http://{bound[0]}:{bound[1]}/"
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def running_worker(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Run the sync worker and yield its task, which ends only when something is wrong."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.worker.run(stop), name="sync worker")
        try:
            async with self._beating("worker", lambda: self.worker.is_working and not task.done()):
                yield task
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def _beating(self, part: str, is_well: Callable[[], bool]) -> AsyncIterator[None]:
        """Say in the database that a part runs, as long as it is well (see ``doctor``)."""
        store = self.context.store

        async def step() -> float:
            if is_well():
                await store.write_repeatable(heartbeats.beat, part, now=int(time.time()))
            return heartbeats.BEAT_EVERY_S

        stop = asyncio.Event()
        beating = asyncio.create_task(keep_going("heartbeats", step, stop=stop), name="heartbeats")
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(beating, return_exceptions=True)
            with suppress(GatewayError):
                await store.write_repeatable(heartbeats.end, part)


@asynccontextmanager
async def open_sidecar(
    settings: Settings, database: Database, keyring: Keyring
) -> AsyncIterator[Sidecar]:
    """Build a sidecar inside the running loop; closes connections and threads at the end."""
    threads = StoreThreads(database)
    context = SyncContext(settings, threads, keyring)
    tune_interpreter()
    sidecar = Sidecar(settings, database, keyring, context)
    try:
        yield sidecar
    finally:
        with suppress(GatewayError):  # leases that cannot be given back run out
            await sidecar.worker.close()
        await context.close()
        threads.close()
