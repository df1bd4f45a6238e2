"""Collections and items in Radicale's form, built from rows and never from parsed text.

A collection carries its whole row: Radicale asks for etag, token and properties after the lock is
gone. An item carries all five values that Radicale would otherwise parse for; its text is loaded
when somebody asks.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

from radicale.item import Item
from radicale.storage import BaseCollection
from radicale.xmlutils import make_clark

from gateway.core.ical.lines import join_folds
from gateway.store.objects.collections import Collection
from gateway.store.objects.objects import (
    StoredObject,
    changes_since,
    find_by_uid,
    find_object,
    find_objects,
    list_objects,
)
from storage_plugin.http.errors import need_privileges
from storage_plugin.http.state import current_state
from storage_plugin.reports.export import export
from storage_plugin.reports.filters import read_filters
from storage_plugin.reports.query import find_matching
from storage_plugin.resources.etags import ctag_of, http_date, quoted, revision_of, token_of

if TYPE_CHECKING:
    from storage_plugin.storage import Storage

_ALWAYS = (-(2**62), 2**62)


class CalendarItem(Item):
    """A calendar object; nothing of it is ever parsed to answer a request."""

    def __init__(self, collection: "CalendarCollection", stored: StoredObject) -> None:
        super().__init__(
            collection=collection,
            href=stored.name,
            last_modified=http_date(stored.updated_at),
            text="",
            etag=quoted(stored.etag),
            uid=stored.uid,
            name="VCALENDAR",
            component_name=stored.component,
            time_range=_ALWAYS,
        )
        self.stored = stored
        self.calendar = collection
        self._loaded: str | None = to_text(stored.body) if stored.body else None

    def serialize(self) -> str:
        """Return the body exactly as stored, loading it if a listing left it out."""
        if self._loaded is None:
            with self.calendar.storage.reading() as session:
                found = find_object(session, self.stored.collection_id, self.stored.name)
            self._loaded = to_text(found.body) if found is not None else ""
        return self._loaded

    @property
    def vobject_item(self) -> Any:
        """Parse with vobject; only stock code of Radicale that we replace would ask."""
        self._text = self.serialize()
        return super().vobject_item


class CalendarCollection(BaseCollection):
    """A calendar, with the row it was discovered with."""

    def __init__(self, storage: "Storage", row: Collection) -> None:
        self.storage = storage
        self.row = row

    @property
    def path(self) -> str:
        """``{principal}/{name}``."""
        return f"{self.row.principal_id}/{self.row.name}"

    @property
    def tag(self) -> str:
        """Every one of ours is a calendar."""
        return "VCALENDAR"

    @property
    def etag(self) -> str:
        """The ctag: it changes when and only when the revision does."""
        return ctag_of(self.row)

    @property
    def last_modified(self) -> str:
        """The time of the last change."""
        return http_date(self.row.updated_at)

    @overload
    def get_meta(self, key: None = None) -> Mapping[str, str]: ...

    @overload
    def get_meta(self, key: str) -> str | None: ...

    def get_meta(self, key: str | None = None) -> Mapping[str, str] | str | None:
        """Return properties under Radicale's short names."""
        meta = {
            "tag": "VCALENDAR",
            "D:displayname": self.row.display_name,
            "C:supported-calendar-component-set": ",".join(self.row.components),
        }
        if key is not None and key in meta:
            return meta[key]
        if key is not None:
            return self.row.properties.get(clark(key))
        return {**meta, **self.row.properties}

    def set_meta(self, props: Mapping[str, str]) -> None:
        """Refuse: PROPPATCH is answered per property, see ``proppatch``."""
        raise need_privileges(f"/{self.path}/", "write-properties", "This cannot be changed so.")

    # --- reading ---

    def token(self) -> str:
        """Return the sync token of this row."""
        return token_of(self.row)

    def sync(self, old_token: str = "") -> tuple[str, Iterable[str]]:
        """Return the token of now and the names changed since ``old_token``, deleted ones too.

        Raises ``ValueError`` for a token that is foreign, from the future or too old.
        """
        if not old_token:
            return self.token(), self._all_names()
        known = revision_of(self.row, old_token)
        changes = changes_since(self.storage.session(), self.row.id, known)
        return self.token(), [name for name, _deleted in changes]

    def _all_names(self) -> Iterator[str]:
        for member in list_objects(self.storage.session(), self.row.id):
            yield member.name

    def get_multi(self, hrefs: Iterable[str]) -> Iterator[tuple[str, Item | None]]:
        """Return each named member with its body, None for those that are not there."""
        names = list(dict.fromkeys(hrefs))
        found = find_objects(self.storage.session(), self.row.id, names)
        for name in names:
            stored = found.get(name)
            yield name, CalendarItem(self, stored) if stored is not None else None

    def get_all(self) -> Iterator[Item]:
        """Return every member with its body."""
        with self.storage.reading() as session:
            members = list_objects(session, self.row.id, with_bodies=True)
        return (CalendarItem(self, member) for member in members)

    def serialize(self, vcf_to_ics: bool = False, ShareActions: Any = None) -> str:  # noqa: N803
        """Return the whole calendar as one iCalendar text."""
        effort = current_state().effort

        def texts() -> Iterator[str]:
            for item in self.get_all():
                effort.tick()
                yield item.serialize()

        return export(
            texts(),
            name=self.row.display_name,
            description=self.get_meta("C:calendar-description"),
        )

    def get_filtered(self, filters: Iterable[Any]) -> Iterator[tuple[Item, bool]]:
        """Return exactly the members that match, so that nobody parses them again."""
        session = self.storage.session()
        for stored in find_matching(session, self.row, read_filters(filters)):
            yield CalendarItem(self, stored), True

    def has_uid(self, uid: str) -> bool:
        """Tell whether a member has this UID."""
        return find_by_uid(self.storage.session(), self.row.id, uid) is not None


def to_text(body: bytes) -> str:
    """Decode a stored body; those from clients are UTF-8 and come back byte for byte.

    A fold inside a character (RFC 5545 3.1 allows it) cannot be in a text: those lines are joined.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return join_folds(body).decode("utf-8", "replace").replace("\n", "\r\n")


def clark(name: str) -> str:
    """Return a property name in Clark notation; one without any namespace stays as it is."""
    return make_clark(name) if name.startswith("{") or ":" in name else name
