"""What every method of the application uses: addresses, and errors that become answers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any

from radicale import types
from radicale.pathutils import strip_path

from gateway.core.errors import GatewayError
from storage_plugin.errors import DavError, from_gateway_error

Answer = types.WSGIResponse
Handler = Callable[..., Answer]


def dav(method: Handler) -> Handler:
    """Turn our errors into answers; they have left the lock, so nothing was kept."""

    @wraps(method)
    def answer(*args: Any, **kwargs: Any) -> Answer:
        try:
            return method(*args, **kwargs)
        except DavError as error:
            return error.response()
        except GatewayError as error:
            return from_gateway_error(error).response()

    return answer


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names; empty parts are not there."""

    principal: str
    calendar: str = ""
    name: str = ""

    @classmethod
    def parse(cls, path: str) -> "Address":
        """Take a sanitised path apart; raises 403 for what lies deeper than an object."""
        parts = strip_path(path).split("/")
        if len(parts) > 3:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:calendar-collection-location-ok/>",
                "Calendars cannot be nested here.",
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
