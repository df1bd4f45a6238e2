"""Child processes that say when they are ready and never outlive their parent."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Annotated, Any, Self

import typer

from gateway.core.errors import GatewayError

UntilStdinCloses = Annotated[
    bool,
    typer.Option(
        "--until-stdin-closes", hidden=True, help="Stop when standard input ends (for parents)."
    ),
]
READY_WITHIN_S = 60
STOP_WITHIN_S = 20


class ChildFailed(GatewayError):
    """A part of the gateway ended or did not start."""

    default_code = "part-failed"


class Child:
    """One ``gateway …`` process; ``ready`` is the JSON line it printed when it was ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.ready: dict[str, Any] = {}

    @classmethod
    async def start(cls, *arguments: str, environment: Mapping[str, str] | None = None) -> Self:
        """Start ``gateway <arguments> --json`` and wait for its ready line.

        ``environment`` replaces the whole environment. Raises :class:`ChildFailed`.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from gateway.cli.main import main; main()",
            *arguments,
            "--json",
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(os.environ if environment is None else environment),
            start_new_session=True,  # Ctrl-C reaches the parent only, which stops us in order
        )
        child = cls(arguments[0], process)
        try:
            child.ready = await asyncio.wait_for(child._ready_line(), READY_WITHIN_S)
        except (TimeoutError, ChildFailed):
            await child.stop()
            raise ChildFailed(f"The part `gateway {arguments[0]}` did not start.") from None
        return child

    async def _ready_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        try:
            ready = json.loads(line)
        except ValueError:
            raise ChildFailed("no ready line") from None
        if not isinstance(ready, dict) or "error" in ready:
            raise ChildFailed("refused to start")
        return ready

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
