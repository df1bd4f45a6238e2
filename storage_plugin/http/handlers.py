"""What every method of the application uses: addresses, and errors that become answers."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from posixpath import normpath
from urllib.parse import unquote, urlsplit

from gateway.core.errors import GatewayError
from gateway.observe import logger
from storage_plugin.http.effort import ClientGone
from storage_plugin.http.errors import Answer, DavError, from_gateway_error

LOGIN_NEEDED: Answer = (HTTPStatus.UNAUTHORIZED, {}, None, None)
"""What is answered to nobody in particular; the client is asked to log in."""

MAX_NAME = 1000
"""Bytes of one path segment; a database index cannot hold much more."""

_log = logger("caldav")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def as_refusal(error: Exception) -> DavError:
    """Return what an error is answered with; one that nobody foresaw is told to the log.

    Radicale would write the address and the error's words there: file names, login names.
    """
    if isinstance(error, DavError):
        return error
    if isinstance(error, GatewayError):
        return from_gateway_error(error)
    if isinstance(error, ClientGone):
        return DavError(HTTPStatus.SERVICE_UNAVAILABLE, "", "The client is gone.")
    _log.error("request failed", exc_info=error)
    return DavError(
        HTTPStatus.INTERNAL_SERVER_ERROR, "", "Something went wrong here; the log says what."
    )


def not_yours(user: str, principal_id: str) -> Answer:
    """Ask an unknown client to log in; a known one is told 404, whether there is something or not.

    Clients look at addresses that other servers have; a 403 there reads like a wrong password.
    The root is everybody's and nobody's.
    """
    if not user:
        return LOGIN_NEEDED
    if not principal_id:
        raise DavError(HTTPStatus.FORBIDDEN, "", "Nothing can be changed at this address.")
    raise nothing_here()


def nothing_here() -> DavError:
    """404."""
    return DavError(HTTPStatus.NOT_FOUND, "", "There is nothing at this address.")


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names; empty parts are not there."""

    principal: str
    calendar: str = ""
    name: str = ""

    @classmethod
    def parse(cls, path: str) -> "Address":
        """Take a sanitised path apart; raises 403 for what lies deeper than an object."""
        parts = path.strip("/").split("/")
        if len(parts) > 3:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:calendar-collection-location-ok/>",
                "Calendars cannot be nested here.",
            )
        if not all(is_usable_name(part) for part in parts):
            raise DavError(
                HTTPStatus.BAD_REQUEST, "", "The address is too long or not made of letters."
            )
        return cls(*parts)

    @property
    def collection_path(self) -> str:
        """The path of the calendar."""
        return f"/{self.principal}/{self.calendar}/"

    @property
    def path(self) -> str:
        """The path of the object."""
        return f"{self.collection_path}{self.name}"


def is_usable_name(name: str) -> bool:
    """Tell whether anything can be stored under a name: not too long, no control characters."""
    return len(name.encode("utf-8", "replace")) <= MAX_NAME and not _CONTROL.search(name)


def path_of(url: str) -> str:
    """Return the path that a URL or an absolute path names; raises ``ValueError``."""
    return _sane(unquote(urlsplit(url.strip()).path, errors="strict"))


def _sane(path: str) -> str:
    """Make a path absolute, without dots and empty segments; a slash at its end stays."""
    parts = [part for part in normpath(path).split("/") if part not in ("", ".", "..")]
    tail = "/" if path.endswith("/") and parts else ""
    return f"/{'/'.join(parts)}{tail}"
