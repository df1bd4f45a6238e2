"""Radicale's WSGI application with what it cannot say itself.

Radicale keeps the pipeline (paths, login, principal, dispatch, compression). The writing methods
are ours: they never let vobject touch a body, check conditions against the locked row, and refuse
with a DAV precondition and a sentence (:class:`DavError` leaves the lock as an exception, so
nothing of a refused request stays).
"""

# ruff: noqa: N802, N815  (Radicale looks methods up by the name of the HTTP method)

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from radicale import httputils, types
from radicale.app import Application
from radicale.config import Configuration
from radicale.pathutils import sanitize_path, strip_path

from gateway.core.errors import GatewayError
from gateway.services.booking import Draft, kind_of_new, prepare_draft, read_draft
from gateway.store.bookings import owner_addresses
from gateway.store.collections import find_collection
from gateway.store.objects import PreparedObject, find_by_uid, find_object
from gateway.store.principals import get_principal
from storage_plugin import bodies, freebusy, proppatch
from storage_plugin.calendars import Wanted, make_local_calendar, read_wanted, refuse_subscriptions
from storage_plugin.collection import CalendarCollection, login_kind, quoted
from storage_plugin.conditions import check_write
from storage_plugin.errors import DavError, from_gateway_error, need_privileges
from storage_plugin.state import Gateway, fresh_state
from storage_plugin.storage import Storage

Answer = types.WSGIResponse
Handler = Callable[..., Answer]

DAV_CLASSES = "1, 3, access-control, calendar-access, extended-mkcol"
_CALENDAR_TYPES = ("", "text/calendar", "application/octet-stream", "text/plain")


def dav(method: Handler) -> Handler:
    """Turn our errors into answers; they have left the lock, so nothing was kept."""

    @wraps(method)
    def answer(self: "GatewayApplication", *args: Any) -> Answer:
        try:
            return method(self, *args)
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


class GatewayApplication(Application):
    """A thread-safe WSGI callable; see :func:`storage_plugin.server.build_application`."""

    _storage: Storage

    def __init__(self, configuration: Configuration, gateway: Gateway) -> None:
        super().__init__(configuration)
        self.gateway = gateway

    # --- pipeline ---

    def _handle_request(self, environ: types.WSGIEnviron) -> Any:
        with fresh_state() as state:
            state.user_agent = environ.get("HTTP_USER_AGENT", "")
            try:
                return super()._handle_request(environ)
            except DavError as error:
                refusal = error
            except GatewayError as error:
                refusal = from_gateway_error(error)
        status, headers, body, _request = refusal.response()
        data = str(body).encode()
        head = [*dict(headers).items(), ("Content-Length", str(len(data)))]
        return f"{status} {HTTPStatus(status).phrase}", head, [data]

    def _read_xml_request_body(
        self, environ: types.WSGIEnviron, request_info: dict[str, Any]
    ) -> Any | None:
        root = bodies.parse_xml(bodies.read_body(environ))
        if root is not None and request_info["method"] in ("MKCALENDAR", "MKCOL", "PROPPATCH"):
            refuse_subscriptions(root)
        return root

    # --- methods of Radicale's, with our errors ---

    do_GET = dav(Application.do_GET)
    do_HEAD = dav(Application.do_HEAD)
    do_PROPFIND = dav(Application.do_PROPFIND)

    @dav
    def do_OPTIONS(self, *args: Any) -> Answer:
        """Announce what is here: no class 2, for there are no locks."""
        allow = sorted(name[3:] for name in dir(self) if name.startswith("do_"))
        return HTTPStatus.OK, {"Allow": ", ".join(allow), "DAV": DAV_CLASSES}, None, None

    @dav
    def do_REPORT(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Answer free-busy-query from the engine, the rest as Radicale does."""
        body = bodies.read_body(environ)
        root = bodies.parse_xml(body)
        if (
            root is not None
            and root.tag == freebusy.QUERY
            and user == Address.parse(path).principal
        ):
            return freebusy.answer_query(self._storage, Address.parse(path).calendar, root)
        again = {**environ, "wsgi.input": bodies.again(body)}
        answer: Answer = super().do_REPORT(
            again, base_prefix, path, user, user_groups, request_info
        )
        return answer

    # --- writing ---

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
            return httputils.NOT_ALLOWED
        body = bodies.read_body(environ)
        if not address.name:
            raise _whole_collection()
        with self._storage.acquire_lock("r", user):
            self._calendar(address).check_writable(path)
        draft = self._read_draft(environ, body)
        prepared = self._prepare(address, draft)
        with self._storage.acquire_lock("w", user, path=path, request="PUT", actor=user):
            calendar = self._calendar(address)
            before = find_object(self._storage.session(), calendar.row.id, address.name)
            check_write(environ, quoted(before.etag) if before is not None else None)
            self._check_uid(calendar, address, draft)
            stored = calendar.put(address.name, draft, prepared)
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
            return httputils.NOT_ALLOWED
        if not address.calendar:
            raise need_privileges(path, "unbind", "A calendar home cannot be deleted.")
        with self._storage.acquire_lock("w", user, path=path, request="DELETE", actor=user):
            calendar = self._calendar(address)
            if not address.name:
                check_write(environ, calendar.etag)
                calendar.delete()
            else:
                found = find_object(self._storage.session(), calendar.row.id, address.name)
                if found is None or not found.served:
                    return httputils.NOT_FOUND
                calendar.check_writable(path, privilege="unbind")
                check_write(environ, quoted(found.etag))
                calendar.delete(address.name)
        return HTTPStatus.NO_CONTENT, {}, None, None

    @dav
    def do_MKCALENDAR(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Make a local calendar (RFC 4791 5.3.1)."""
        return self._make(environ, path, user, request_info, is_calendar=True)

    @dav
    def do_MKCOL(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Make a local calendar by extended MKCOL (RFC 5689); plain collections are refused."""
        return self._make(environ, path, user, request_info, is_calendar=False)

    @dav
    def do_PROPPATCH(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Change properties, with a true answer for each (RFC 4918 9.2)."""
        address = Address.parse(path)
        if not user or address.principal != user:
            return httputils.NOT_ALLOWED
        root = self._read_xml_request_body(environ, request_info)
        with self._storage.acquire_lock("w", user, path=path, request="PROPPATCH", actor=user):
            calendar = self._calendar(address) if address.calendar else None
            return proppatch.answer(self._storage, base_prefix, path, calendar, root)

    # --- parts ---

    def _calendar(self, address: Address) -> CalendarCollection:
        """Return the calendar of an address; raises 409 when there is none to write into."""
        found = next(iter(self._storage.discover(address.collection_path)), None)
        if not isinstance(found, CalendarCollection):
            raise DavError(HTTPStatus.CONFLICT, "", "There is no such calendar.")
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
        return read_draft(body)

    def _prepare(self, address: Address, draft: Draft) -> PreparedObject:
        """Expand before the lock, for the kind the object has or will have."""
        database = self.gateway.database
        with database.read() as session:
            principal = get_principal(session, address.principal)
            row = find_collection(session, principal.id, address.calendar)
            known = find_object(session, row.id, address.name) if row is not None else None
            addresses = owner_addresses(session, principal.id)
        kind = known.kind if known is not None else kind_of_new(login_kind(), draft)
        if row is not None and row.kind == "local":
            kind = "blocked-slot"
        return prepare_draft(
            draft,
            name=address.name,
            kind=kind,
            principal=principal,
            addresses=addresses,
            now=self._storage.now(),
        )

    def _check_uid(self, calendar: CalendarCollection, address: Address, draft: Draft) -> None:
        """Refuse a UID that another member has, and a change of UID (RFC 4791 5.3.2.1)."""
        session = self._storage.session()
        same = find_by_uid(session, calendar.row.id, draft.calendar_object.uid)
        here = find_object(session, calendar.row.id, address.name)
        taken = same if same is not None and same.name != address.name else None
        if here is not None and here.uid != draft.calendar_object.uid:
            taken = here
        if taken is not None:
            href = f"{address.collection_path}{taken.name}"
            raise DavError(
                HTTPStatus.CONFLICT,
                f"<C:no-uid-conflict><href>{href}</href></C:no-uid-conflict>",
                "This UID is used by another event of this calendar.",
            )

    def _make(
        self,
        environ: types.WSGIEnviron,
        path: str,
        user: str,
        request_info: dict[str, Any],
        *,
        is_calendar: bool,
    ) -> Answer:
        address = Address.parse(path)
        if not user or address.principal != user:
            return httputils.NOT_ALLOWED
        root = self._read_xml_request_body(environ, request_info)
        wanted = read_wanted(proppatch.instructions(root)) if root is not None else Wanted()
        if not address.calendar or address.name:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:calendar-collection-location-ok/>",
                "Calendars are made directly in the calendar home.",
            )
        if not (is_calendar or wanted.is_calendar):
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<valid-resourcetype/>",
                "Only calendars can be made here.",
            )
        with self._storage.acquire_lock("w", user, path=path, request="MKCALENDAR", actor=user):
            make_local_calendar(self._storage, user, address.calendar, wanted)
        return HTTPStatus.CREATED, {"Cache-Control": "no-cache"}, None, None


def destination(environ: types.WSGIEnviron, base_prefix: str) -> str:
    """Return the path a Destination header names; raises 400."""
    raw = environ.get("HTTP_DESTINATION", "")
    path = sanitize_path(unquote(urlsplit(raw).path))
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
