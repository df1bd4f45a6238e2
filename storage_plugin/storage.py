"""Radicale's storage on the gateway's store: paths become collections, a lock becomes a unit.

``/`` and ``/{principal}/`` are answered without a query; a principal sees nothing but its own.
One lock is one unit of work, opened at the first question and committed when the lock is left
without an exception.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Any

from radicale.config import Configuration
from radicale.item import Item
from radicale.pathutils import strip_path
from radicale.storage import BaseCollection, BaseStorage

from gateway.store.engine import Session
from gateway.store.objects.collections import Collection, find_collection, list_collections
from gateway.store.objects.objects import find_object, list_objects
from storage_plugin.http.errors import DavError
from storage_plugin.http.state import Gateway, Unit, current_state, default_gateway
from storage_plugin.resources.calendars import Wanted, make_local_calendar
from storage_plugin.resources.collection import CalendarCollection, CalendarItem, clark
from storage_plugin.resources.home import OUTBOX_NAME, Home, Outbox, Root


class Storage(BaseStorage):
    """The storage class Radicale loads; every method runs inside :meth:`acquire_lock`."""

    _is_collision_free = True
    _supports_unicode = True
    _supports_trailing_whitespace = True
    _supports_problematic_chars = True

    def __init__(self, configuration: Configuration, gateway: Gateway | None = None) -> None:
        super().__init__(configuration)
        self.gateway = gateway or default_gateway()

    # --- units ---

    @contextmanager
    def acquire_lock(self, mode: str, user: str = "", *args: Any, **kwargs: Any) -> Iterator[None]:
        """Open a write unit for this thread, lazily; commit or roll back at the end.

        What is read is read in the request's own unit.
        """
        state = current_state()
        state.user = user or state.user
        if mode != "w":
            yield
            return
        state.end_reading()
        before, unit = state.unit, Unit(self.gateway.database)
        state.unit = unit
        try:
            with unit.running():
                yield
        finally:
            state.unit = before

    def session(self) -> Session:
        """Return the session of the write unit that is open, else of the read unit."""
        state = current_state()
        return state.unit.session() if state.unit else state.read(self.gateway.database)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Use the open unit."""
        yield self.session()

    def now(self) -> int:
        """Return the time in UTC epoch seconds."""
        return int(time.time())

    # --- Radicale's contract ---

    def discover(
        self,
        path: str,
        depth: str = "0",
        child_context_manager: Callable[[str, str | None], AbstractContextManager[None]]
        | None = None,
        user_groups: set[str] | None = None,
    ) -> Iterator[BaseCollection | Item]:
        """Yield what is at ``path``, and its children unless ``depth`` is "0"; never raises."""
        parts = strip_path(path).split("/")
        deep = depth != "0"
        own = current_state().principal_id
        if parts == [""]:
            yield Root(self)
            if deep and own:
                yield Home(self, own)
        elif parts[0] != own or len(parts) > 3:
            return
        elif len(parts) == 1:
            yield Home(self, own)
            if deep:
                for row in list_collections(self.session(), own):
                    if self._is_visible(row):
                        yield CalendarCollection(self, row)
        else:
            yield from self._discover_calendar(own, parts[1:], deep)

    def create_collection(
        self,
        href: str,
        items: Iterable[Item] | None = None,
        props: Mapping[str, str] | None = None,
    ) -> tuple[BaseCollection, dict[str, Item], list[str]]:
        """Make a local calendar (R18); anything else is refused with :class:`DavError`."""
        parts = strip_path(href).split("/")
        if len(parts) == 1 and not props:
            return Home(self, parts[0]), {}, []
        if items is not None:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:calendar-collection-location-ok/>",
                "A whole calendar cannot be uploaded here; send its events one by one.",
            )
        if len(parts) != 2 or parts[0] != current_state().principal_id:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:calendar-collection-location-ok/>",
                "Calendars can be made directly in the calendar home only.",
            )
        given = dict(props or {})
        names = given.pop("C:supported-calendar-component-set", "")
        wanted = Wanted(
            display_name=given.pop("D:displayname", None),
            components=tuple(names.split(",")) if names else None,
            dead={clark(key): text for key, text in given.items() if key != "tag"},
        )
        make_local_calendar(self, parts[0], parts[1], wanted)
        made = find_collection(self.session(), parts[0], parts[1])
        assert made is not None
        return CalendarCollection(self, made), {}, []

    def verify(self) -> bool:
        """Tell that the database answers."""
        self.session()
        return True

    # --- parts ---

    def _discover_calendar(
        self, own: str, parts: list[str], deep: bool
    ) -> Iterator[BaseCollection | Item]:
        if parts == [OUTBOX_NAME]:
            yield Outbox(self, own)
            return
        row = find_collection(self.session(), own, parts[0])
        if row is None or not self._is_visible(row):
            return
        collection = CalendarCollection(self, row)
        if len(parts) == 2:
            found = find_object(self.session(), row.id, parts[1])
            if found is not None and found.served:
                yield CalendarItem(collection, found)
            return
        yield collection
        if deep:
            for member in list_objects(self.session(), row.id):
                yield CalendarItem(collection, member)

    def _is_visible(self, row: Collection) -> bool:
        return row.kind != "mirror" or current_state().show_mirrors
