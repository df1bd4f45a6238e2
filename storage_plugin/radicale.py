"""Radicale as the host: its pipeline, with our login, our methods and our refusals in it.

The only module that knows Radicale. It keeps paths, the Basic header, dispatch and compression;
its storage and its rights are asked for nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar

import radicale.config
from radicale import httputils
from radicale.app import Application
from radicale.auth import AuthContext, BaseAuth
from radicale.config import Configuration
from radicale.log import logger as radicale_logger
from radicale.rights import BaseRights
from radicale.storage import BaseStorage

from storage_plugin.access import Doorkeeper
from storage_plugin.http.effort import Effort
from storage_plugin.http.errors import Answer, DavError
from storage_plugin.http.gate import Gate
from storage_plugin.http.handlers import LOGIN_NEEDED, as_refusal
from storage_plugin.http.middleware import IS_GONE
from storage_plugin.http.state import Gateway, current_state, fresh_state
from storage_plugin.methods import DAV_CLASSES, METHODS, no_such_method
from storage_plugin.requests import Request

REALM = "iCloud CalDAV gateway"
_CARDDAV = "/.well-known/carddav"


class GatewayApplication(Application):
    """A thread-safe WSGI callable; see :func:`storage_plugin.server.build_application`."""

    def __init__(self, gateway: Gateway, *, max_body: int, gate: Gate | None = None) -> None:
        # Its lines name logins and files, and people type passwords where names belong.
        radicale_logger.disabled = True
        super().__init__(_configuration(gateway, max_body))
        self.gateway = gateway
        self._gate = gate

    def _handle_request(self, environ: Mapping[str, Any]) -> Any:
        effort = Effort(is_gone=environ.get(IS_GONE), gate=self._gate)
        with fresh_state(effort) as state:
            agent = environ.get("HTTP_USER_AGENT", "")
            state.user_agent = "".join(char for char in agent if char.isprintable())
            try:
                if environ.get("PATH_INFO", "").rstrip("/").endswith(_CARDDAV):
                    raise DavError(HTTPStatus.NOT_FOUND, "", "There are no address books here.")
                if environ["REQUEST_METHOD"].upper() not in METHODS:
                    raise no_such_method()
                return _with_own_words(super()._handle_request(environ))
            except Exception as error:  # one that passed Radicale would be logged with its words
                refusal = as_refusal(error)
        status, headers, body, _request = refusal.response()
        data = str(body).encode()
        head = [*headers.items(), ("Content-Length", str(len(data)))]
        return f"{status} {HTTPStatus(status).phrase}", head, [data]


def _method(answer: Callable[[Request], Answer]) -> Callable[..., Any]:
    """Make a method as Radicale calls it; our errors become answers outside of every unit."""

    def do(
        self: GatewayApplication, environ: dict[str, Any], base_prefix: str, path: str, user: str,
        *_rest: Any,
    ) -> Any:  # fmt: skip
        try:
            request = Request(self.gateway, current_state(), environ, base_prefix, path, user)
            found = answer(request)
        except Exception as error:
            return as_refusal(error).response()
        return httputils.NOT_ALLOWED if found is LOGIN_NEEDED else found

    return do


for _name, _answer in METHODS.items():
    setattr(GatewayApplication, f"do_{_name}", _method(_answer))


class Auth(BaseAuth):
    """Asks our logins; Radicale's user is the principal's id."""

    doorkeeper: Doorkeeper

    def _login_ext(self, login: str, password: str, context: AuthContext) -> str:
        return self.doorkeeper.admit(login, password, context.remote_addr or "")

    def _sleep_for_constant_exec_time(self, time_ns_begin: int) -> None:
        """Never sleep in a worker thread: failures are throttled by address instead."""


class Storage(BaseStorage):
    """The proof that a principal is there, which Radicale wants to see."""

    _supports_unicode = _supports_trailing_whitespace = _supports_problematic_chars = True
    there: ClassVar[tuple[str]] = ("principal",)

    @contextmanager
    def acquire_lock(self, mode: str, user: str = "", *args: Any, **kwargs: Any) -> Iterator[None]:
        """Lock nothing: reading and writing happen in transactions of the store."""
        yield

    def discover(self, *args: Any, **kwargs: Any) -> Any:
        """Say that every principal with a login is there."""
        return iter(self.there)


def _configuration(gateway: Gateway, max_body: int) -> Configuration:
    """Return Radicale's configuration."""

    def auth(configuration: Configuration) -> Auth:
        made = Auth(configuration)
        made.doorkeeper = Doorkeeper(gateway)
        return made

    configuration = radicale.config.load([])
    settings: dict[str, dict[str, Any]] = {
        "auth": {"type": auth, "realm": REALM, "delay": 0, "urldecode_username": True},
        "rights": {"type": BaseRights},  # none: each method looks at the address itself
        "storage": {"type": Storage},
        "server": {
            "delay_on_error": 0,
            "validate_path_value": "none",
            "max_content_length": max_body,
            "max_resource_size": gateway.settings.max_resource_size,
        },
        "web": {"type": "none"},
        "headers": {"DAV": DAV_CLASSES},
    }
    configuration.update(settings, "gateway", privileged=True)
    return configuration


def _with_own_words(answer: Any) -> Any:
    """Say what a 401 asks for: Radicale calls it a forbidden resource."""
    status, headers, _body, *rest = answer
    if not status.startswith("401"):
        return answer
    text = b"Log in with a device or platform login and its password.\n"
    kept = [(name, value) for name, value in headers if not name.startswith("Content-")]
    head = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    return (status, [*kept, *head], [text], *rest)
