"""Three servers to pull from: ours, and two we did not write (plain Radicale and Xandikos).

The look-alike is ours and proves nothing by itself; the others speak CalDAV by their own lights.
"""

import http.client
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

from gateway.lookalike.world.world import Account

USER, PASSWORD = "robin", "any password"
AUTHORIZATION = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
RADICALE = """
[auth]
type = none
[storage]
filesystem_folder = {folder}
[logging]
level = error
"""
_numbers = count(1)


class Upstream:
    """Two calendars and a phone that edits them; ``truth`` is what they hold."""

    def __init__(self, segments: tuple[str, str]) -> None:
        self.segments = segments
        self.truth: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})

    def put(self, calendar: int, name: str, body: bytes) -> None:
        """Create or replace an object."""
        self._put(calendar, name, body)
        self.truth[calendar][name] = body

    def delete(self, calendar: int, name: str) -> None:
        """Delete an object."""
        self._delete(calendar, name)
        del self.truth[calendar][name]

    def move(self, calendar: int, name: str, to: int) -> None:
        """Move an object as phones do: away here, new there."""
        body = self.truth[calendar][name]
        self.delete(calendar, name)
        self.put(to, name, body)

    def drop(self, calendar: int) -> None:
        """Delete a calendar with all it holds."""
        self._drop(calendar)
        self.truth[calendar].clear()

    def _put(self, calendar: int, name: str, body: bytes) -> None:
        raise NotImplementedError

    def _delete(self, calendar: int, name: str) -> None:
        raise NotImplementedError

    def _drop(self, calendar: int) -> None:
        raise NotImplementedError


class Imitation(Upstream):
    """The look-alike, edited from within."""

    def __init__(self, account: Account) -> None:
        super().__init__(("home", "work"))
        self.account = account

    def _put(self, calendar: int, name: str, body: bytes) -> None:
        self.account.put(self.segments[calendar], body, name)

    def _delete(self, calendar: int, name: str) -> None:
        self.account.delete(self.segments[calendar], name)

    def _drop(self, calendar: int) -> None:
        self.account.drop_calendar(self.segments[calendar])


class Foreign(Upstream):
    """Another server, edited by plain HTTP; its two calendars are made for one test."""

    def __init__(self, port: int, home: str) -> None:
        number = next(_numbers)
        super().__init__((f"one-{number}", f"two {number} ü"))
        self.port = port
        self.paths = tuple(f"{home}{segment}/" for segment in self.segments)
        for path in self.paths:
            assert self.ask("MKCALENDAR", path) == 201

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        """Send one request; returns its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                method, quote(path), body, {"Authorization": AUTHORIZATION, **headers}
            )
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def close(self) -> None:
        """Leave no calendar behind for the next test."""
        for path in self.paths:
            self.ask("DELETE", path)

    def _put(self, calendar: int, name: str, body: bytes) -> None:
        kind = {"Content-Type": "text/calendar"}
        assert self.ask("PUT", self.paths[calendar] + name, body, **kind) in (200, 201, 204)

    def _delete(self, calendar: int, name: str) -> None:
        assert self.ask("DELETE", self.paths[calendar] + name) in (200, 204)

    def _drop(self, calendar: int) -> None:
        assert self.ask("DELETE", self.paths[calendar]) in (200, 204)


@contextmanager
def foreign_server(kind: str, folder: Path) -> Iterator[tuple[int, str]]:
    """A running server: (port, path of the calendar home)."""
    port = _free_port()
    if kind == "radicale":
        config = folder / "config"
        config.write_text(RADICALE.format(folder=folder / "data"))
        command = ["-m", "radicale", "--config", str(config), "--hosts", f"127.0.0.1:{port}"]
        home = f"/{USER}/"
    else:
        command = [
            *("-m", "xandikos", "-d", str(folder / "data"), "--defaults"),
            *("-l", "127.0.0.1", "-p", str(port), "--current-user-principal", f"/{USER}/"),
        ]
        home = f"/{USER}/calendars/"
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(port, process)
        yield port, home
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(400):
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError
