"""A port that leads to the database through whatever a test puts in between."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy


@contextmanager
def relayed(
    url: sqlalchemy.URL, join: Callable[[socket.socket, socket.socket], object]
) -> Iterator[int]:
    """Yield a port; ``join`` gets each connection to it with one of its own to the database."""
    host, port = str(url.query.get("host") or url.host), url.port or 5432

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            if host.startswith("/"):
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(Path(host) / f".s.PGSQL.{port}"))
            else:
                far = socket.create_connection((host, port))
            join(near, far)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
