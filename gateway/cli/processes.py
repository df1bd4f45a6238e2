"""Child processes that say when they are ready and never outlive their parent."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any, Self

import typer

from gateway.children import Deaths, LastLines, ended_how, own_python
from gateway.core.errors import GatewayError
from gateway.observe import logger

UntilStdinCloses = Annotated[
    bool,
    typer.Option(
        "--until-stdin-closes", hidden=True, help="Stop when standard input ends (for parents)."
    ),
]
READY_WITHIN_S = 180
"""A part starts in two seconds; ten of them at once on a busy machine were seen to take sixty."""
STOP_WITHIN_S = 20
_PROGRAM = "from gateway.cli.main import main; main()"
_log = logger("processes")


class ChildFailed(GatewayError):
    """A part of the gateway ended or did not start."""

    default_code = "part-failed"


class Child:
    """One ``gateway …`` process; ``ready`` is the JSON line it printed when it was ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, said: LastLines) -> None:
        self.name = name
        self.process = process
        self.ready: dict[str, Any] = {}
        self._said = said

    @classmethod
    async def start(cls, *arguments: str, environment: Mapping[str, str] | None = None) -> Self:
        """Start ``gateway <arguments> --json`` and wait for its ready line.

        ``environment`` replaces the whole environment. Raises :class:`ChildFailed` with the reason
        it gave, else with its last lines.
        """
        said = LastLines()
        try:
            process = await asyncio.create_subprocess_exec(
                *own_python(_PROGRAM, *arguments, "--json", "--until-stdin-closes"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=said.pipe,
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,  # Ctrl-C reaches the parent only, which stops us in order
            )
        finally:
            said.started()
        child = cls(arguments[0], process, said)
        try:
            child.ready = await asyncio.wait_for(child._ready_line(), READY_WITHIN_S)
        except TimeoutError:
            await child.stop()
            raise child.failure(f"did not start within {READY_WITHIN_S} s") from None
        except BaseException:
            await child.stop()
            raise
        return child

    async def _ready_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        try:
            ready = json.loads(line)
        except ValueError:
            status = await self.process.wait() if not line else None
            raise self.failure(f"did not start ({ended_how(status)})") from None
        if not isinstance(ready, dict):
            raise self.failure("did not start")
        if "error" in ready:
            reason = ready["error"]
            detail = f"The part `gateway {self.name}` did not start: {reason['detail']}"
            raise ChildFailed(detail, code=reason["code"])
        return ready

    def failure(self, what: str) -> ChildFailed:
        """Return the error that tells what happened to it, with its last lines."""
        said = self._said.text()
        told = f" Its last lines:\n{said}" if said else " It said nothing."
        return ChildFailed(f"The part `gateway {self.name}` {what}.{told}")

    async def wait(self) -> int:
        """Wait until the process ends by itself; returns its exit code."""
        return await self.process.wait()

    async def stop(self) -> None:
        """Ask the process to stop, wait, and kill it when it does not."""
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


class Kept:
    """A part that is started again, after a pause, whenever it ends by itself (OOM killer, crash).

    ``begin`` starts it; it is told what the first one answered, so that a port stays what it was.
    """

    def __init__(self, begin: Callable[[dict[str, Any]], Awaitable[Child]]) -> None:
        self._begin = begin
        self._deaths = Deaths()
        self._child: Child | None = None
        self.ready: dict[str, Any] = {}

    async def start(self) -> None:
        """Start it for the first time; raises :class:`ChildFailed`."""
        self._child = await self._begin({})
        self._deaths.lives()
        self.ready = self._child.ready

    async def watch(self) -> str:
        """Start it again as often as it ends; returns what to tell once it is given up."""
        assert self._child is not None
        while True:
            status = await self._child.wait()
            ended = self._child.failure(f"ended ({ended_how(status)})")
            last = await self._start_again(ended)
            if last is not None:
                times = self._deaths.count
                return f"A part ended or failed to start {times} times in a row. {last.detail}"

    async def _start_again(self, failed: ChildFailed) -> ChildFailed | None:
        """Start it; returns the last failure when it failed too often."""
        while (pause_s := self._deaths.pause_s()) is not None:
            _log.error("a part ended; it is started again", reason=failed.detail, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            try:
                self._child = await self._begin(self.ready)
            except ChildFailed as error:
                failed = error
                continue
            self._deaths.lives()
            return None
        return failed

    async def stop(self) -> None:
        """Ask it to stop; call it when nobody watches any more."""
        if self._child is not None:
            await self._child.stop()


async def until_given_up(
    stop: asyncio.Event, *watches: Coroutine[Any, Any, str], **parts: asyncio.Future[Any]
) -> str | None:
    """Wait for ``stop``, for a watch to give up, or for a part to end, which it never should.

    Returns what to tell, None after ``stop``.
    """
    stopped = asyncio.ensure_future(stop.wait())
    watching = [asyncio.ensure_future(watch) for watch in watches]
    waiting = [stopped, *watching, *parts.values()]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return None
        for watch in watching:
            if watch.done():
                return watch.result()
        ended = [name for name, part in parts.items() if part.done()]
        return f"The part `{ended[0]}` ended unexpectedly; see its log lines above."
    finally:
        stopped.cancel()
        for watch in watching:
            watch.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


def stop_with_parent(enabled: bool) -> None:
    """Send this process SIGTERM when standard input ends, that is when the parent is gone."""
    if not enabled:
        return

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def stop_event() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set; call it inside the running loop."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    return event
