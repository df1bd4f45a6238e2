"""The whole CalDAV process: Radicale configured, wrapped, and served by waitress.

It never opens the keyring: what it stores goes upstream by the worker.
"""

import logging
import resource
import socket
from collections.abc import Callable
from typing import Any

import radicale.config
from radicale.log import logger as radicale_logger

from gateway.core.errors import CannotListen
from gateway.observe import serving_metrics
from gateway.settings import Settings
from gateway.store.engine import Database
from storage_plugin.access import Auth, Rights
from storage_plugin.alive import beating
from storage_plugin.application import DAV_CLASSES, GatewayApplication
from storage_plugin.http.channels import Server
from storage_plugin.http.gate import Gate
from storage_plugin.http.middleware import Application, Middleware
from storage_plugin.http.state import Gateway
from storage_plugin.storage import Storage

REALM = "iCloud CalDAV gateway"
CONNECTIONS = 1000
SPARE_FILES = 128
"""Open files that are no connections: the database's, waiting bodies and answers, logs."""
BACKLOG = 1024


def build_application(settings: Settings, database: Database) -> Application:
    """Build the WSGI callable, thread-safe, middleware included."""
    # Its lines name logins and files, and people type passwords where names belong; ours do not.
    radicale_logger.disabled = True
    # A line for each client that hangs up says nothing to act on, and names what it asked for.
    logging.getLogger("waitress").setLevel(logging.WARNING)
    gateway = Gateway(settings, database)
    gate = Gate()
    database.waits = gate.outside
    application = GatewayApplication(_configuration(gateway), gateway, gate=gate)
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


class _Part:
    """Makes one of our three classes for Radicale, which writes this into its log."""

    def __init__(self, made: Callable[..., Any], gateway: Gateway) -> None:
        self._made, self._gateway = made, gateway

    def __call__(self, configuration: radicale.config.Configuration) -> Any:
        """Return the part."""
        return self._made(configuration, self._gateway)

    def __repr__(self) -> str:
        """Say no setting: there may be a password in one."""
        return "gateway"


def _configuration(gateway: Gateway) -> radicale.config.Configuration:
    """Return Radicale's configuration; the parts share our database."""
    configuration = radicale.config.load([])
    configuration.update(
        {
            "auth": {
                "type": _Part(Auth, gateway),
                "realm": REALM,
                "delay": 0,
                "urldecode_username": True,
            },
            "rights": {
                "type": _Part(Rights, gateway),
                "permit_delete_collection": False,
                "permit_overwrite_collection": False,
            },
            "storage": {"type": _Part(Storage, gateway)},
            "server": {
                "delay_on_error": 0,
                "validate_path_value": "none",
                "max_content_length": _max_body(gateway.settings),
                "max_resource_size": gateway.settings.max_resource_size,
            },
            "reporting": {
                "max_expand_occurrence": 0,
                "freebusy_view_past_days": 7,
                "freebusy_view_future_days": 90,
            },
            "web": {"type": "none"},
            "headers": {"DAV": DAV_CLASSES},
        },
        "gateway",
        privileged=True,
    )
    return configuration


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
