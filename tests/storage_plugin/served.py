"""The CalDAV server as its own processes, and a WSGI callable that reaches them over HTTP.

So every test that speaks WSGI to the application also runs against real sockets and processes.
"""

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from gateway.settings import Settings

_PROGRAM = """
import signal, sys
from gateway.settings import Settings
from storage_plugin.processes import serve_processes
from storage_plugin.server import serve

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
count, settings = int(sys.argv[1]), Settings.model_validate_json(sys.stdin.readline())
ready = lambda url: print(url, flush=True)
try:
    serve_processes(settings, count, ready=ready) if count > 1 else serve(settings, ready=ready)
except KeyboardInterrupt:
    pass
"""


@contextmanager
def serving(settings: Settings, processes: int) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run a server with so many processes; yields its URL and the process that was started."""
    started = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(processes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")},
    )
    try:
        started.stdin.write(settings.model_dump_json() + "\n")
        started.stdin.flush()
        url = started.stdout.readline().strip()
        assert url, "the server did not start"
        yield url, started
    finally:
        started.terminate()
        started.wait(30)
        started.stdout.close()
        started.stdin.close()


class OverHttp:
    """A WSGI callable that sends what it is given to a server, one connection per thread."""

    def __init__(self, url: str) -> None:
        self.host, self.port = urlsplit(url).hostname, urlsplit(url).port
        self._kept = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def __call__(self, environ, start_response):
        method, body = environ["REQUEST_METHOD"], environ["wsgi.input"].read()
        target = quote(environ["PATH_INFO"].encode("latin-1"), safe="/;:@&=+$,~!*'()-._")
        if environ["QUERY_STRING"]:
            target += f"?{environ['QUERY_STRING']}"
        for attempt in (1, 2):
            connection = self._connection()
            try:
                self._send(connection, method, target or "/", environ, body)
                answer = connection.getresponse()
                data = answer.read()
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                # An idle connection may end at any moment; only a fresh one must work.
                fresh = getattr(connection, "requests", 0) == 1
                self.close()
                if fresh or attempt == 2:
                    raise
        start_response(f"{answer.status} {answer.reason}", answer.getheaders())
        if answer.getheader("Connection", "").lower() == "close":
            self.close()
        return [data]

    def close_all(self) -> None:
        """Close the connections of all threads."""
        for connection in self._open:
            connection.close()

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = getattr(self._kept, "connection", None)
        if connection is not None:
            connection.close()
            self._kept.connection = None

    def _connection(self) -> http.client.HTTPConnection:
        found = getattr(self._kept, "connection", None)
        if found is None:
            found = http.client.HTTPConnection(self.host, self.port, timeout=60)
            found.requests = 0
            self._open.append(found)
            self._kept.connection = found
        found.requests += 1
        return found

    @staticmethod
    def _send(connection, method, target, environ, body) -> None:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("X-Forwarded-For", environ["REMOTE_ADDR"])
        for key, value in environ.items():
            if key.startswith("HTTP_"):
                connection.putheader(key[5:].replace("_", "-"), value.encode("latin-1"))
        if environ.get("CONTENT_TYPE"):
            connection.putheader("Content-Type", environ["CONTENT_TYPE"])
        if body or method in ("PUT", "POST"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
