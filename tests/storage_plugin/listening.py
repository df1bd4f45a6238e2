"""The server of one CalDAV process inside the test's own, so that a test can shorten its clocks."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from storage_plugin.http.channels import Server
from storage_plugin.server import listen

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Stoppable(Server):
    """Ends at the next look of its main thread, once it is told to."""

    stopping = False

    def maintenance(self, now: float) -> None:
        if self.stopping:
            raise SystemExit
        super().maintenance(now)


@contextmanager
def listening(application, *, threads: int = 4, most: int = 100, trusted=()) -> Iterator[int]:
    """Serve a WSGI application on loopback; yields the port."""
    with listen("0.0.0.0:0") as listener:
        listener.setblocking(False)
        server = Stoppable(
            application,
            listener,
            threads=threads,
            max_body=2**24,
            most=most,
            trusted=trusted,
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            while Line.opened:
                Line.opened.pop().close()
            server.stopping = True
            thread.join(20)
            for channel in list(server.active_channels.values()):
                channel.handle_close()
            server.trigger.close()
        assert not thread.is_alive()


class Line:
    """A raw connection, from any address of loopback."""

    opened: ClassVar[list["Line"]] = []

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=20, source_address=(source, 0)
        )
        self.opened.append(self)

    def send(self, data: bytes) -> "Line":
        self.socket.sendall(data)
        return self

    def ask(self, path: str = "/", **headers: str) -> "Line":
        lines = [f"GET {path} HTTP/1.1", "Host: a", *(f"{n}: {v}" for n, v in headers.items())]
        return self.send("\r\n".join([*lines, "", ""]).encode())

    def answer(self) -> tuple[int, bytes]:
        """Read one answer that tells its length; (0, b"") when the connection ended instead."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self._read()
            if not part:
                return 0, data
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        missing = int(_LENGTH.search(head)[1])
        while len(body) < missing:
            body += self._read()
        return int(head[9:12]), head + b"\r\n\r\n" + body

    def _read(self) -> bytes:
        with suppress(ConnectionResetError):
            return self.socket.recv(65536)
        return b""

    def rest(self) -> bytes:
        """Read until the server ends the connection."""
        data = b""
        while part := self._read():
            data += part
        return data

    def is_closed(self) -> bool:
        """Tell whether the server has ended the connection, without waiting."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self.socket.settimeout(20)

    def closes_within(self, seconds: float) -> bool:
        ends = time.monotonic() + seconds
        while not self.is_closed():
            if time.monotonic() > ends:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        self.socket.close()
