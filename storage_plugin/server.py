"""The whole CalDAV process: Radicale configured, wrapped, and served by waitress.

It never opens the keyring: what it stores goes upstream by the worker.
"""

import logging
import resource
import socket
from collections.abc import Callable

from gateway.core.errors import CannotListen
from gateway.observe import serving_metrics
from gateway.settings import Settings
from gateway.store.engine import Database
from storage_plugin.alive import beating
from storage_plugin.http.channels import Server
from storage_plugin.http.gate import Gate
from storage_plugin.http.middleware import Application, Middleware
from storage_plugin.http.state import Gateway
from storage_plugin.radicale import GatewayApplication

CONNECTIONS = 1000
SPARE_FILES = 128
"""Open files that are no connections: the database's, waiting bodies and answers, logs."""
BACKLOG = 1024


def build_application(settings: Settings, database: Database) -> Application:
    """Build the WSGI callable, thread-safe, middleware included."""
    # A line for each client that hangs up says nothing to act on, and names what it asked for.
    logging.getLogger("waitress").setLevel(logging.WARNING)
    gateway = Gateway(settings, database)
    gate = Gate()
    database.waits = gate.outside
    application = GatewayApplication(gateway, max_body=_max_body(settings), gate=gate)
    return Middleware(
        application,
        max_body=_max_body(settings),
        trusted_proxies=settings.trusted_proxies,
        gate=gate,
    )


def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted; ``ready`` gets the URL with the real port once it is bound."""
    with listen(settings.caldav_bind) as listener:
        serve_socket(settings, listener, ready=ready)


def listen(bind: str) -> socket.socket:
    """Return a listening socket at ``host:port``; port 0 is any free one.

    Raises :class:`CannotListen`.
    """
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = error if isinstance(error, OSError) else OSError(str(error))
        raise CannotListen.at(bind, "caldav_bind", reason) from error


def url_of(listener: socket.socket) -> str:
    """Return the URL a listening socket is reached at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve_socket(
    settings: Settings, listener: socket.socket, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serve a listening socket, which other processes may share, until interrupted."""
    database = Database(settings.database)
    listener.setblocking(False)
    try:
        application = build_application(settings, database)
        server = Server(
            application,
            listener,
            threads=settings.caldav_threads,
            max_body=_max_body(settings),
            most=_connections(),
            trusted=settings.trusted_proxies,
        )
        with serving_metrics(settings.metrics_bind), beating(database):
            if ready is not None:
                ready(url_of(listener))
            server.run()  # type: ignore[no-untyped-call]
    finally:
        database.close()


def _connections() -> int:
    """Return how many connections this process may have; raises its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS + SPARE_FILES  # a connection may have a large body in a file
    limit = max(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(16, min(CONNECTIONS, limit - SPARE_FILES))


def _max_body(settings: Settings) -> int:
    """Return the cap of any body in bytes: room for XML around the largest object."""
    return max(2 * settings.max_resource_size, 8 * 1024 * 1024)
