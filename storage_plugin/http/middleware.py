"""What stands between the WSGI server and Radicale: requests made sane, answers complete.

PATH_INFO is re-read as UTF-8 (WSGI hands latin-1), chunked bodies get a length, bodies over the
cap and odd headers are refused, empty answers get ``Content-Length: 0``, and headers only a proxy
may set are believed from trusted addresses alone.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from io import BytesIO
from typing import Any

from gateway.core.addresses import client_of
from gateway.observe import Neighbours
from storage_plugin.http.gate import Gate

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

TOO_MANY = "gateway.too_many"
"""Set by the server for a request that waited too long for others of its login."""
IS_GONE = "gateway.is_gone"
"""Where the server leaves a function that tells whether the client has hung up."""
RETRY_AFTER_S = 5

_PROXY_HEADERS = (
    "HTTP_X_SCRIPT_NAME",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_SERVER",
    "HTTP_X_REMOTE_ADDR",
    "HTTP_X_REMOTE_USER",
    "HTTP_REMOTE_USER",
)

_CHARSET = re.compile(r"""\s*;\s*charset\s*=\s*("[^"]*"|[^;]*)""", re.IGNORECASE)
"""Of a Content-Type: Radicale would decode login and password with it, whatever it names."""


class Refusal(Exception):
    """A request that goes no further."""

    def __init__(self, status: HTTPStatus, text: str, *, retry_after_s: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.headers = [("Retry-After", str(retry_after_s))] if retry_after_s else []


class Middleware:
    """Wraps the application; ``max_body`` is bytes, ``trusted_proxies`` are peer addresses.

    Requests compute inside ``gate``, one at a time.
    """

    def __init__(
        self,
        application: Application,
        *,
        max_body: int,
        trusted_proxies: tuple[str, ...],
        gate: Gate | None = None,
    ) -> None:
        self._application = application
        self._max_body = max_body
        self._trusted = frozenset(trusted_proxies)
        self._neighbours = Neighbours("caldav", self._trusted)
        self._gate = gate or Gate()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with self._gate.inside():
            return self._answer(environ, start_response)

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            if environ.get(TOO_MANY):
                raise _too_many()
            self._believe_proxy(environ)
            environ["PATH_INFO"] = _utf8_path(environ.get("PATH_INFO", ""))
            environ["HTTP_AUTHORIZATION"] = _authorization(environ.get("HTTP_AUTHORIZATION", ""))
            environ["CONTENT_TYPE"] = _CHARSET.sub("", environ.get("CONTENT_TYPE", ""))
            self._bound_body(environ)
        except Refusal as refusal:
            return _refuse(environ, start_response, refusal)
        return self._complete(environ, start_response)

    def _believe_proxy(self, environ: Environ) -> None:
        peer = environ.get("REMOTE_ADDR", "")
        if peer not in self._trusted:
            if "HTTP_X_FORWARDED_FOR" in environ:
                self._neighbours.note(peer)
            for name in _PROXY_HEADERS:
                environ.pop(name, None)
            return
        environ["REMOTE_ADDR"] = client_of(
            peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self._trusted
        )
        if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            environ["wsgi.url_scheme"] = "https"

    def _bound_body(self, environ: Environ) -> None:
        """Give every body a length, at most the cap (RFC 9112 6)."""
        text = environ.get("CONTENT_LENGTH") or ""
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        if text and not (text.isascii() and text.isdigit()):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is not a number.")
        if text and int(text) > self._max_body:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
        if chunked and not text:
            body = environ["wsgi.input"].read(self._max_body + 1)
            if len(body) > self._max_body:
                raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
            environ["wsgi.input"] = BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))

    def _complete(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application and give its answer a length: nothing streams here."""
        begun: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> None:
            begun[:] = [status, headers, *rest]

        body = b"".join(self._application(environ, begin))
        status, headers, *rest = begun
        names = {name.lower() for name, _value in headers}
        if body:  # it may be compressed, as Accept-Encoding says (RFC 9110 12.5.5)
            headers = _varying(headers)
        if "content-length" not in names and not status.startswith(("204", "304")):
            headers = [*headers, ("Content-Length", str(len(body)))]
        start_response(status, headers, *rest)
        return [body]


def _varying(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers with Accept-Encoding among what the answer depends on."""
    vary = [value for name, value in headers if name.lower() == "vary"]
    others = [(name, value) for name, value in headers if name.lower() != "vary"]
    return [*others, ("Vary", ", ".join([*vary, "Accept-Encoding"]))]


def _utf8_path(path: str) -> str:
    try:
        return path.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The address is not UTF-8.") from None


def _authorization(header: str) -> str:
    """Return the header with its scheme as Radicale spells it (RFC 9110 11.1 allows any case).

    A malformed Basic header is refused; Radicale would answer it with 500.
    """
    scheme, _, credentials = header.partition(" ")
    if scheme.casefold() != "basic":
        return header
    try:
        decoded = base64.b64decode(credentials.strip().encode("ascii"))
    except (binascii.Error, ValueError, UnicodeError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The Authorization header is malformed.") from None
    if b":" not in decoded or b"\0" in decoded:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The Authorization header is malformed.")
    return f"Basic {credentials.strip()}"


def _too_many() -> Refusal:
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Two requests of this login are being answered already; try again later.",
        retry_after_s=RETRY_AFTER_S,
    )


def _refuse(environ: Environ, start_response: StartResponse, refusal: Refusal) -> list[bytes]:
    text = f"{refusal}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    headers += refusal.headers
    start_response(f"{refusal.status.value} {refusal.status.phrase}", headers)
    return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else text]
