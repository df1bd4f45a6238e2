"""Several CalDAV processes on one listening socket: more processors, and one can die.

The parent binds, starts the children, starts one again that ends, and serves nothing itself. A
child gets socket and settings from its parent and ends when its standard input does, that is when
the parent is gone. It is started anew, not forked: no thread and no connection is shared.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.children import Deaths, LastLines, ended_how, own_python
from gateway.core.errors import GatewayError
from gateway.observe import logger, set_up_logging
from gateway.settings import Settings
from storage_plugin.server import listen, serve_socket, url_of

STOP_WITHIN_S = 20
LOOK_EVERY_S = 0.3
MOST = 64
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_PROGRAM = "from storage_plugin.processes import run_child; run_child()"
_READY = b"ready\n"
log = logger("caldav")


def usable_cores() -> int:
    """Return how many cores this process may use: by affinity, and by its control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text().split()  # "max 100000" without one: a ValueError
        cores = min(cores or 1, -(-int(quota) // int(period)))
    return max(1, min(cores or 1, MOST))


class ChildrenKeepDying(GatewayError):
    """The processes end right after their start; the log says why."""

    default_code = "part-failed"


def serve_processes(
    settings: Settings, count: int, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serve with ``count`` processes until interrupted; ``ready`` gets the URL once all run."""
    with listen(settings.caldav_bind) as listener:
        group = _ProcessGroup(settings, listener, count)
        try:
            group.start()
            if ready is not None:
                ready(url_of(listener))
            group.watch()
        finally:
            group.stop()


class _Child:
    """One process; alive until its end was seen."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self.since = time.monotonic()
        self.said = LastLines()
        try:
            self.process = subprocess.Popen(  # noqa: S603  (our own interpreter and program)
                own_python(_PROGRAM, str(listener.fileno())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.said.pipe,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C reaches the parent only, which stops us in order
            )
        finally:
            self.said.started()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # dead already: seen when it is looked at
            self.process.stdin.write(settings.model_dump_json().encode() + b"\n")
            self.process.stdin.flush()

    def wait_until_ready(self) -> None:
        """Wait for the ready line; raises when the process ended instead."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != _READY:
            raise ChildrenKeepDying(self.last_words("A CalDAV process did not start"))

    def last_words(self, what: str) -> str:
        """Say what happened to it, with its last lines."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        said = self.said.text() or "(it said nothing)"
        return f"{what} ({ended_how(self.process.returncode)}). Its last lines:\n{said}"

    def ask_to_stop(self) -> None:
        """Close the lifeline; requests under way are finished."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def stop(self, until: float) -> None:
        """Wait for the end, and force it after a while."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class _ProcessGroup:
    """The processes of one server."""

    def __init__(self, settings: Settings, listener: socket.socket, count: int) -> None:
        self._settings = settings
        self._listener = listener
        self._count = count
        self._children: list[_Child] = []
        self._deaths = Deaths()

    def start(self) -> None:
        """Start all at once, then wait for each."""
        self._children = [_Child(self._settings, self._listener) for _ in range(self._count)]
        for child in self._children:
            child.wait_until_ready()

    def watch(self) -> None:
        """Start a process again when one ends; never returns."""
        while True:
            for at, child in enumerate(self._children):
                if child.process.poll() is not None:
                    self._children[at] = self._successor_of(child)
            time.sleep(LOOK_EVERY_S)

    def _successor_of(self, dead: _Child) -> _Child:
        self._deaths.lives_since(dead.since)
        pause_s = self._deaths.pause_s()
        if pause_s is None:
            raise ChildrenKeepDying(dead.last_words("The CalDAV processes keep ending"))
        log.error("a CalDAV process ended; it is started again", status=dead.process.returncode)
        dead.ask_to_stop()
        dead.stop(0)
        time.sleep(pause_s)
        return _Child(self._settings, self._listener)

    def stop(self) -> None:
        """Stop all, in order."""
        for child in self._children:
            child.ask_to_stop()
        until = time.monotonic() + STOP_WITHIN_S
        for child in self._children:
            child.stop(until)


def run_child() -> None:
    """Serve the socket whose number is the argument, with the settings of the first input line."""
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    set_up_logging(level=settings.log_level, style=settings.log_format)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()

    def ready(_url: str) -> None:
        sys.stdout.buffer.write(_READY)
        sys.stdout.buffer.flush()

    with contextlib.suppress(KeyboardInterrupt):
        serve_socket(settings, socket.socket(fileno=int(sys.argv[1])), ready=ready)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
