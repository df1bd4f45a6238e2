"""The whole CalDAV process: Radicale configured, wrapped, and served by waitress.

It never opens the keyring: what it stores goes upstream by the worker.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any

import radicale.config
from radicale.log import logger as radicale_logger
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import WSGITask

from gateway.settings import Settings
from gateway.store.engine import Database
from storage_plugin.access import Auth, Rights
from storage_plugin.application import DAV_CLASSES, GatewayApplication
from storage_plugin.middleware import Application, Middleware
from storage_plugin.state import Gateway
from storage_plugin.storage import Storage

REALM = "iCloud CalDAV gateway"
IDLE_S = 120
CONNECTIONS = 1000
BACKLOG = 1024


def build_application(settings: Settings, database: Database) -> Application:
    """Build the WSGI callable, thread-safe, middleware included."""
    radicale_logger.setLevel(logging.WARNING)
    # A line for each request that waits for a thread says nothing that the operator can act on.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    gateway = Gateway(settings, database)
    application = GatewayApplication(_configuration(gateway), gateway)
    return Middleware(
        application,
        max_body=_max_body(settings),
        trusted_proxies=settings.trusted_proxies,
    )


class _Task(WSGITask):
    """waitress closes the connection after each 204 and 304, which have no length to tell."""

    def set_close_on_finish(self) -> None:
        """Close when the client asked for it, or when the end of a body shows in no other way."""
        asked = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or self.version != "1.1" or asked == "close":
            super().set_close_on_finish()


class _Channel(HTTPChannel):
    task_class = _Task


def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted; ``ready`` gets the URL with the real port once it is bound."""
    with listen(settings.caldav_bind) as listener:
        serve_socket(settings, listener, ready=ready)


def listen(bind: str) -> socket.socket:
    """Return a listening socket at ``host:port``; port 0 is any free one."""
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)


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
        server: Any = create_server(  # type: ignore[no-untyped-call]
            application,
            sockets=[listener],
            threads=settings.caldav_threads,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_S,
            asyncore_use_poll=True,  # select() ends at 1024 descriptors
            max_request_body_size=_max_body(settings),
            clear_untrusted_proxy_headers=False,  # the middleware decides whom to believe
            ident="",
        )
        server.channel_class = _Channel
        if ready is not None:
            ready(url_of(listener))
        server.run()
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


def _max_body(settings: Settings) -> int:
    """Return the cap of any body in bytes: room for XML around the largest object."""
    return max(2 * settings.max_resource_size, 8 * 1024 * 1024)
