"""Collections and items in Radicale's form, built from rows and never from parsed text.

A collection carries its whole row: Radicale asks for etag, token and properties after the lock is
gone. An item carries all five values that Radicale would otherwise parse for; its text is loaded
when somebody asks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, overload

from radicale.item import Item
from radicale.storage import BaseCollection
from radicale.xmlutils import make_clark

from gateway.core.ical.lines import join_folds
from gateway.core.intervals import Interval
from gateway.services.objects import (
    Draft,
    delete_local_object,
    move_object,
    prepare_draft,
    put_local_object,
    put_platform_object,
    read_draft,
)
from gateway.store.access.principals import LoginKind, Principal, get_principal
from gateway.store.booking.bookings import owner_addresses
from gateway.store.engine import lock_principal
from gateway.store.objects.collections import Collection
from gateway.store.objects.horizons import window_of
from gateway.store.objects.objects import (
    PreparedObject,
    StoredObject,
    changes_since,
    find_by_uid,
    find_object,
    find_objects,
    list_objects,
)
from storage_plugin.http.errors import DavError, need_privileges
from storage_plugin.http.state import current_state
from storage_plugin.reports.export import export
from storage_plugin.reports.filters import read_filters
from storage_plugin.reports.query import find_matching
from storage_plugin.resources.calendars import delete_local_calendar

if TYPE_CHECKING:
    from storage_plugin.storage import Storage

TOKEN_PREFIX = "urn:icloud-caldav-gateway:sync:"  # noqa: S105  (it names a state, no secret)
_ALWAYS = (-(2**62), 2**62)


@dataclass(frozen=True, slots=True)
class Ready:
    """An object expanded before the lock, and whose it was then: zone and addresses may change.

    ``takes`` is the time that must be known to book it, None for what may lie on anything.
    """

    prepared: PreparedObject
    principal: Principal
    addresses: frozenset[str]
    takes: Interval | None = None


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
        return f'"{self.row.incarnation}-{self.row.revision}"'

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

    @staticmethod
    def token_of(row: Collection, revision: int | None = None) -> str:
        """Return the sync token of the state a row was read in, or of a revision (RFC 6578)."""
        at = row.revision if revision is None else revision
        return f"{TOKEN_PREFIX}{row.incarnation}:{at}"

    def token(self) -> str:
        """Return the sync token of this row."""
        return self.token_of(self.row)

    def sync(self, old_token: str = "") -> tuple[str, Iterable[str]]:
        """Return the token of now and the names changed since ``old_token``, deleted ones too.

        Raises ``ValueError`` for a token that is foreign, from the future or too old.
        """
        if not old_token:
            return self.token(), self._all_names()
        known = self.revision_of(old_token)
        changes = changes_since(self.storage.session(), self.row.id, known)
        return self.token(), [name for name, _deleted in changes]

    def revision_of(self, token: str) -> int:
        """Return the revision behind a token of this collection; raises ``ValueError``."""
        prefix = f"{TOKEN_PREFIX}{self.row.incarnation}:"
        text = token.removeprefix(prefix)
        if not token.startswith(prefix) or not text.isascii() or not text.isdigit():
            raise ValueError("this sync token belongs to another collection")
        revision = int(text)
        if not self.row.valid_from_revision <= revision <= self.row.revision:
            raise ValueError("this sync token is too old")
        return revision

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

    # --- writing ---

    def upload(self, href: str, item: Item) -> tuple[Item, Item | None]:
        """Create or replace a member from an item of Radicale's."""
        session = self.storage.session()
        before = find_object(session, self.row.id, href)
        draft = read_draft(item.serialize().encode())
        stored = self.put(href, draft, None)
        replaced = CalendarItem(self, before) if before is not None else None
        return CalendarItem(self, stored), replaced

    def put(
        self,
        name: str,
        draft: Draft,
        ready: Ready | None,
        *,
        allow_overlap: bool = False,
    ) -> StoredObject:
        """Create or replace a member, in a savepoint: an error answer keeps nothing of it.

        What was not expanded yet, or under a zone or addresses that have changed meanwhile, is
        expanded here.
        """
        self.check_writable(f"/{self.path}/{name}")
        self.check_component(draft.calendar_object.component)
        session, now = self.storage.session(), self.storage.now()
        kind = login_kind()
        with session.begin_nested():
            lock_principal(session, self.row.principal_id)
            principal = get_principal(session, self.row.principal_id)
            addresses = owner_addresses(session, principal.id)
            if ready is not None and (ready.principal, ready.addresses) == (principal, addresses):
                prepared = ready.prepared
            else:
                prepared = prepare_draft(
                    draft,
                    name=name,
                    kind="blocked-slot",
                    principal=principal,
                    addresses=addresses,
                    now=now,
                    window=window_of(session, principal.id, now=now),
                )
            if self.row.kind == "platform":
                return put_platform_object(
                    session,
                    principal=principal,
                    login_kind=kind,
                    collection=self.row,
                    draft=draft,
                    prepared=prepared,
                    addresses=addresses,
                    now=now,
                    allow_overlap=allow_overlap,
                )
            return put_local_object(
                session, principal=principal, collection=self.row, prepared=prepared, now=now
            )

    def delete(self, href: str | None = None) -> None:
        """Delete a member, or the whole calendar when it is a local one."""
        session = self.storage.session()
        if href is None:
            delete_local_calendar(session, self.row)
            return
        self.check_writable(f"/{self.path}/{href}", privilege="unbind")
        with session.begin_nested():
            principal = get_principal(session, self.row.principal_id)
            delete_local_object(
                session,
                principal=principal,
                collection=self.row,
                name=href,
                now=self.storage.now(),
            )

    def move_to(self, name: str, target: "CalendarCollection", new_name: str) -> None:
        """Move a member; an appointment stays in ``platform/`` (R19)."""
        self.check_writable(f"/{self.path}/{name}", privilege="unbind")
        target.check_writable(f"/{target.path}/{new_name}", privilege="bind")
        session = self.storage.session()
        found = find_object(session, self.row.id, name)
        if found is not None:
            target.check_component(found.component)
        with session.begin_nested():
            move_object(
                session,
                source=self.row,
                name=name,
                target=target.row,
                new_name=new_name,
                now=self.storage.now(),
            )

    def check_component(self, component: str) -> None:
        """Raise for a component this calendar does not hold (RFC 4791 5.2.3)."""
        if component not in self.row.components:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:supported-calendar-component/>",
                f"This calendar holds {', '.join(self.row.components)} only.",
            )

    def check_writable(self, path: str, *, privilege: str = "write-content") -> None:
        """Raise the refusal of R20 for a mirror."""
        if self.row.kind == "mirror":
            raise need_privileges(
                path,
                privilege,
                "This calendar is a read-only copy of an iCloud calendar. "
                "Change the event in iCloud; it will change here by itself.",
            )


def login_kind() -> LoginKind:
    """Return the kind of login of this request; without one, the weaker: a device."""
    login = current_state().login
    return login.kind if login is not None else "device"


def quoted(etag: str) -> str:
    """Return an etag as it stands in a header."""
    return etag if etag.startswith('"') else f'"{etag}"'


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


def http_date(at: int) -> str:
    """Return UTC epoch seconds as an HTTP date."""
    return formatdate(at, usegmt=True)
