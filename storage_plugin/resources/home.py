"""What is not a calendar: the root, a principal (which is its own calendar home), the outbox.

They hold nothing, have no properties of their own and refuse every change.
"""

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, overload

from radicale.item import Item
from radicale.storage import BaseCollection

from storage_plugin.http.errors import DavError, need_privileges
from storage_plugin.resources.etags import http_date

if TYPE_CHECKING:
    from storage_plugin.storage import Storage

OUTBOX_NAME = "outbox"


class Plain(BaseCollection):
    """A collection that is no calendar: it holds nothing but collections."""

    def __init__(self, storage: "Storage") -> None:
        self.storage = storage

    @overload
    def get_meta(self, key: None = None) -> Mapping[str, str]: ...

    @overload
    def get_meta(self, key: str) -> str | None: ...

    def get_meta(self, key: str | None = None) -> Mapping[str, str] | str | None:
        """Return no property at all."""
        return {} if key is None else None

    def set_meta(self, props: Mapping[str, str]) -> None:
        """Refuse."""
        raise need_privileges(f"/{self.path}", "write-properties", "This cannot be changed.")

    def delete(self, href: str | None = None) -> None:
        """Refuse."""
        raise need_privileges(f"/{self.path}", "unbind", "This cannot be deleted.")

    def upload(self, href: str, item: Item) -> tuple[Item, Item | None]:
        """Refuse: objects live in calendars."""
        raise DavError(
            HTTPStatus.FORBIDDEN,
            "<C:calendar-collection-location-ok/>",
            "Events go into a calendar, not beside it.",
        )

    def get_multi(self, hrefs: Iterable[str]) -> Iterator[tuple[str, Item | None]]:
        """Return None for every name."""
        return ((href, None) for href in hrefs)

    def get_all(self) -> Iterable[Item]:
        """Return nothing."""
        return ()

    @property
    def etag(self) -> str:
        """A constant."""
        return '"home"'

    @property
    def last_modified(self) -> str:
        """The epoch: a home has no time of change."""
        return http_date(0)


class Root(Plain):
    """``/``."""

    @property
    def path(self) -> str:
        """Empty."""
        return ""


class Home(Plain):
    """A principal, which is its own calendar home."""

    def __init__(self, storage: "Storage", principal_id: str) -> None:
        super().__init__(storage)
        self._principal_id = principal_id

    @property
    def path(self) -> str:
        """The principal's id."""
        return self._principal_id


class Outbox(Home):
    """The scheduling outbox (RFC 6638 2.1): a place to ask questions at, with nothing in it."""

    @property
    def path(self) -> str:
        """``{principal}/outbox``."""
        return f"{self._principal_id}/{OUTBOX_NAME}"
