"""PUT, DELETE, MOVE and COPY of calendar objects.

No body passes through vobject. A body is read, parsed and expanded before the lock; conditions are
checked against the row inside it: the principal is locked before anything is looked at.
"""

# ruff: noqa: N802  (Radicale looks methods up by the name of the HTTP method)

import re
from http import HTTPStatus
from typing import Any

from radicale import types
from radicale.app.base import ApplicationBase

from gateway.core.errors import InvalidCalendarData
from gateway.services.moves import may_be_copy, note_deletion, refuses_copy, was_copied
from gateway.services.objects import (
    Draft,
    kind_of_new,
    prepare_draft,
    read_draft,
    span_to_know,
)
from gateway.store.access.principals import get_principal
from gateway.store.booking.bookings import owner_addresses
from gateway.store.engine import lock_principal
from gateway.store.objects.collections import find_collection
from gateway.store.objects.horizons import is_beyond, window_of
from gateway.store.objects.objects import StoredObject, find_by_uid, find_object, uid_key
from storage_plugin.http import bodies
from storage_plugin.http.conditions import check_write, precondition_failed
from storage_plugin.http.errors import DavError, appointment_stays, need_privileges
from storage_plugin.http.handlers import Address, Answer, dav, not_yours, path_of
from storage_plugin.http.multistatus import href
from storage_plugin.http.state import Gateway
from storage_plugin.reports import reach
from storage_plugin.resources.collection import CalendarCollection, Ready, login_kind, quoted
from storage_plugin.storage import Storage

_CALENDAR_TYPES = ("", "text/calendar", "application/octet-stream", "text/plain")
_METHOD = re.compile(rb"^METHOD[:;]", re.MULTILINE | re.IGNORECASE)
"""RFC 4791 4.1; a folded text begins its lines with a blank, so this is no part of one."""
OVERLAP_HEADER = "HTTP_X_GATEWAY_ALLOW_OVERLAP"
"""``T``: the platform says that this appointment may lie on busy time (R27)."""


class WritingMethods(ApplicationBase):
    """The methods that change objects; a part of the application."""

    _storage: Storage
    gateway: Gateway

    @dav
    def do_PUT(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Create or replace a calendar object; the body is kept byte for byte."""
        address = Address.parse(path)
        if not user or address.principal != user:
            return not_yours(user, address.principal)
        body = bodies.read_body(environ)
        if not address.name:
            raise _whole_collection()
        with self._storage.acquire_lock("r", user):
            target = self._calendar(address)
        if target.row.kind == "mirror":
            self._refuse_copy(user, uid_of(body))
            target.check_writable(path)
        draft = self._read_draft(environ, body)
        if target.row.kind != "platform":
            self._refuse_copy(user, draft.calendar_object.uid)
        ready = self._prepare(address, draft)
        if ready.takes is not None and is_beyond(ready.takes, self._storage.now()):
            reach.wait_for(self.gateway, [user], ready.takes, now=self._storage.now())
            ready = self._prepare(address, draft)
        with self._storage.acquire_lock("w", user, path=path, request="PUT", actor=user):
            lock_principal(self._storage.session(), user)
            calendar = self._calendar(address)
            before = find_object(self._storage.session(), calendar.row.id, address.name)
            check_write(environ, base_prefix + path, quoted(before.etag) if before else None)
            self._check_uid(calendar, address, draft.calendar_object.uid, before)
            allow_overlap = environ.get(OVERLAP_HEADER, "").upper() == "T"
            stored = calendar.put(address.name, draft, ready, allow_overlap=allow_overlap)
        status = HTTPStatus.CREATED if before is None else HTTPStatus.NO_CONTENT
        return status, {"ETag": quoted(stored.etag)}, None, None

    @dav
    def do_DELETE(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Delete an object or a local calendar."""
        address = Address.parse(path)
        if not user or address.principal != user:
            return not_yours(user, address.principal)
        if not address.calendar:
            raise need_privileges(path, "unbind", "A calendar home cannot be deleted.")
        with self._storage.acquire_lock("w", user, path=path, request="DELETE", actor=user):
            lock_principal(self._storage.session(), user)
            calendar = self._calendar(address, missing=HTTPStatus.NOT_FOUND)
            if address.name:
                found = self._member(calendar, address)
                calendar.check_writable(path, privilege="unbind")
                check_write(environ, base_prefix + path, quoted(found.etag))
                self._check_is_no_move(found)
                calendar.delete(address.name)
            else:
                check_write(environ, base_prefix + path, calendar.etag)
                calendar.delete()
        return HTTPStatus.NO_CONTENT, {}, None, None

    @dav
    def do_MOVE(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Move an object, inside its calendar or into another one."""
        return self._transfer(environ, base_prefix, path, user, keep=False)

    @dav
    def do_COPY(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Copy an object into another calendar, where it becomes what a PUT would make of it."""
        return self._transfer(environ, base_prefix, path, user, keep=True)

    # --- parts ---

    def _refuse_copy(self, user: str, uid: str) -> None:
        """Refuse what a phone puts elsewhere when it moves an appointment, and keep that in mind.

        Noted in a unit of its own, for a refusal keeps nothing.
        """
        if login_kind() == "platform" or not uid:
            return
        with self.gateway.database.read() as session:
            if not may_be_copy(session, user, uid, now=self._storage.now()):
                return
        with self.gateway.database.write() as session:
            lock_principal(session, user)
            is_copy = refuses_copy(session, user, uid, now=self._storage.now())
        if is_copy:
            raise appointment_stays()

    def _check_is_no_move(self, found: StoredObject) -> None:
        """Refuse a device's deletion that is the rest of a move; note any other one."""
        if login_kind() == "platform":
            return
        session, now = self._storage.session(), self._storage.now()
        if was_copied(session, found, now=now):
            raise appointment_stays()
        note_deletion(session, found, now=now)

    def _transfer(
        self, environ: types.WSGIEnviron, base_prefix: str, path: str, user: str, *, keep: bool
    ) -> Answer:
        source = Address.parse(path)
        target = Address.parse(_destination(environ, base_prefix))
        if not user or source.principal != user:
            return not_yours(user, source.principal)
        if target.principal != user:
            raise DavError(HTTPStatus.FORBIDDEN, "", "The Destination is not in your calendars.")
        if not source.name or not target.name:
            raise DavError(
                HTTPStatus.FORBIDDEN, "", "Calendars cannot be moved or copied; rename them."
            )
        if source == target:
            raise DavError(HTTPStatus.FORBIDDEN, "", "Source and destination are the same.")
        with self._storage.acquire_lock("w", user, path=path, request="MOVE", actor=user):
            lock_principal(self._storage.session(), user)
            origin = self._calendar(source, missing=HTTPStatus.NOT_FOUND)
            found = self._member(origin, source)
            check_write(environ, base_prefix + path, quoted(found.etag))
            calendar = self._calendar(target)
            calendar.check_writable(target.path, privilege="bind")
            if not keep:
                origin.check_writable(path, privilege="unbind")
            there = find_object(self._storage.session(), calendar.row.id, target.name)
            if there is not None and environ.get("HTTP_OVERWRITE", "T").strip().upper() == "F":
                raise precondition_failed("There is something at the destination.")
            moves_inside = not keep and origin.row.id == calendar.row.id
            self._check_uid(
                calendar, target, found.uid, there, moved=source.name if moves_inside else None
            )
            if keep:
                calendar.put(target.name, read_draft(found.body), None)
            else:
                origin.move_to(source.name, calendar, target.name)
        return (HTTPStatus.CREATED if there is None else HTTPStatus.NO_CONTENT), {}, None, None

    def _calendar(
        self, address: Address, *, missing: HTTPStatus = HTTPStatus.CONFLICT
    ) -> CalendarCollection:
        """Return the calendar of an address; raises ``missing`` when there is none."""
        found = next(iter(self._storage.discover(address.collection_path)), None)
        if not isinstance(found, CalendarCollection):
            raise DavError(missing, "", "There is no such calendar.")
        return found

    def _member(self, calendar: CalendarCollection, address: Address) -> StoredObject:
        found = find_object(self._storage.session(), calendar.row.id, address.name)
        if found is None or not found.served:
            raise DavError(HTTPStatus.NOT_FOUND, "", "There is no such event.")
        return found

    def _read_draft(self, environ: types.WSGIEnviron, body: bytes) -> Draft:
        kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind not in _CALENDAR_TYPES:
            raise DavError(
                HTTPStatus.FORBIDDEN, "<C:supported-calendar-data/>", "Send text/calendar."
            )
        limit = self.gateway.settings.max_resource_size
        if len(body) > limit:
            raise DavError(
                HTTPStatus.FORBIDDEN, "<C:max-resource-size/>", f"At most {limit} bytes."
            )
        if _METHOD.search(body):
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:valid-calendar-object-resource/>",
                "An event has no METHOD; only a message that is mailed has one.",
            )
        return read_draft(body)

    def _prepare(self, address: Address, draft: Draft) -> Ready:
        """Expand before the lock, for the kind the object has or will have."""
        with self.gateway.database.read() as session:
            principal = get_principal(session, address.principal)
            row = find_collection(session, principal.id, address.calendar)
            known = find_object(session, row.id, address.name) if row is not None else None
            addresses = owner_addresses(session, principal.id)
            window = window_of(session, principal.id, now=self._storage.now())
        kind = known.kind if known is not None else kind_of_new(login_kind(), draft)
        if row is not None and row.kind == "local":
            kind = "blocked-slot"
        prepared = prepare_draft(
            draft,
            name=address.name,
            kind=kind,
            principal=principal,
            addresses=addresses,
            now=self._storage.now(),
            window=window,
        )
        takes = None
        if kind == "appointment" and login_kind() == "platform":
            with self.gateway.database.read() as session:
                takes = span_to_know(session, principal.id, prepared)
        return Ready(prepared, principal, addresses, takes)

    def _check_uid(
        self,
        calendar: CalendarCollection,
        address: Address,
        uid: str,
        here: StoredObject | None,
        *,
        moved: str | None = None,
    ) -> None:
        """Refuse a UID that another member has, and a change of UID (RFC 4791 5.3.2.1)."""
        same = find_by_uid(self._storage.session(), calendar.row.id, uid)
        taken = None
        if same is not None and same.name not in (address.name, moved):
            taken = same
        elif here is not None and here.uid != uid_key(uid):
            taken = here
        if taken is not None:
            link = href(f"{address.collection_path}{taken.name}")
            raise DavError(
                HTTPStatus.CONFLICT,
                f"<C:no-uid-conflict><href>{link}</href></C:no-uid-conflict>",
                "This UID is used by another event of this calendar.",
            )


def _destination(environ: types.WSGIEnviron, base_prefix: str) -> str:
    """Return the path a Destination header names; raises 400.

    The host is not compared: behind a proxy it need not be the one we see.
    """
    raw = environ.get("HTTP_DESTINATION", "")
    try:
        path = path_of(raw)
    except ValueError:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The Destination is no address.") from None
    if not raw or not (path + "/").startswith(base_prefix + "/"):
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The Destination is not on this server.")
    return path.removeprefix(base_prefix) or "/"


def _whole_collection() -> DavError:
    return DavError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "",
        "A whole calendar cannot be uploaded here; send its events one by one.",
        headers={"Allow": "DELETE, GET, HEAD, OPTIONS, PROPFIND, PROPPATCH, REPORT"},
    )


def uid_of(body: bytes) -> str:
    """Return the UID of a body that is refused anyway; empty when it has none that can be read."""
    try:
        return read_draft(body).calendar_object.uid
    except InvalidCalendarData:
        return ""
