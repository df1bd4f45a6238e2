"""Radicale's WSGI application with what it cannot say itself.

Radicale keeps the pipeline (paths, login, principal, dispatch, compression). The methods are ours:
they refuse with a DAV precondition and a sentence, and :class:`DavError` leaves the lock as an
exception, so nothing of a refused request stays.
"""

# ruff: noqa: N802  (Radicale looks methods up by the name of the HTTP method)

from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from radicale import types
from radicale.app import Application
from radicale.app.get import requests_freebusy_view
from radicale.config import Configuration
from radicale.pathutils import strip_path

from gateway.store.objects.horizons import is_beyond
from storage_plugin.http import bodies
from storage_plugin.http.conditions import matches_weakly
from storage_plugin.http.effort import Effort
from storage_plugin.http.errors import DavError
from storage_plugin.http.gate import Gate
from storage_plugin.http.handlers import Address, Answer, as_refusal, dav, not_yours, nothing_here
from storage_plugin.http.middleware import IS_GONE
from storage_plugin.http.requests import Request
from storage_plugin.http.state import Gateway, current_state, fresh_state
from storage_plugin.objects import writing
from storage_plugin.reports import freebusy, reach, scheduling
from storage_plugin.reports import report as reports
from storage_plugin.resources import propfind, proppatch, setup
from storage_plugin.resources.calendars import (
    make_local_calendar,
    read_wanted,
    refuse_subscriptions,
)
from storage_plugin.resources.collection import CalendarItem
from storage_plugin.resources.home import OUTBOX_NAME, Home
from storage_plugin.storage import Storage

DAV_CLASSES = "1, 3, calendar-access, extended-mkcol"
_CARDDAV = "/.well-known/carddav"
_MAKING = ("{DAV:}mkcol", "{urn:ietf:params:xml:ns:caldav}mkcalendar")


class GatewayApplication(Application):
    """A thread-safe WSGI callable; see :func:`storage_plugin.server.build_application`."""

    _storage: Storage

    def __init__(
        self, configuration: Configuration, gateway: Gateway, *, gate: Gate | None = None
    ) -> None:
        super().__init__(configuration)
        self.gateway = gateway
        self._gate = gate

    # --- pipeline ---

    def _handle_request(self, environ: types.WSGIEnviron) -> Any:
        effort = Effort(is_gone=environ.get(IS_GONE), gate=self._gate)
        with fresh_state(effort) as state:
            state.user_agent = _printable(environ.get("HTTP_USER_AGENT", ""))
            try:
                if environ.get("PATH_INFO", "").rstrip("/").endswith(_CARDDAV):
                    raise DavError(HTTPStatus.NOT_FOUND, "", "There are no address books here.")
                if environ["REQUEST_METHOD"].upper() not in self._methods():
                    raise self._no_such_method()
                return _with_own_words(super()._handle_request(environ))
            except Exception as error:  # one that passed Radicale would be logged with its words
                refusal = as_refusal(error)
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

    # --- reading ---

    @dav
    def do_OPTIONS(self, *args: Any) -> Answer:
        """Announce what is here: no class 2, for there are no locks."""
        return HTTPStatus.OK, {"Allow": ", ".join(self._methods()), "DAV": DAV_CLASSES}, None, None

    @classmethod
    @cache
    def _methods(cls) -> list[str]:
        return sorted(name[3:] for name in dir(cls) if name.startswith("do_"))

    def _no_such_method(self, *, without: str = "") -> DavError:
        """405, which has to say what is allowed (RFC 9110 15.5.6)."""
        allow = ", ".join(name for name in self._methods() if name != without)
        text = f"{without or 'This method'} is not used here."
        return DavError(HTTPStatus.METHOD_NOT_ALLOWED, "", text, headers={"Allow": allow})

    @dav
    def do_GET(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Return an object, a whole calendar, or a word of help for a person with a browser."""
        if not strip_path(path):
            return setup.welcome()
        if path == setup.PROFILE_PATH:
            if not user:
                return not_yours(user, "")
            with self._storage.acquire_lock("r", user):
                return setup.profile(self._storage, environ, base_prefix)
        if not user or Address.parse(path).principal != user:
            return not_yours(user, Address.parse(path).principal)
        if requests_freebusy_view(environ):
            return self._freebusy_from_url(environ, Address.parse(path), user)
        with self._storage.acquire_lock("r", user):
            found = next(iter(self._storage.discover(path)), None)
            if found is None:
                raise nothing_here()
            if isinstance(found, Home):
                return setup.welcome()
            if not isinstance(found, CalendarItem):
                answer: Answer = super().do_GET(
                    environ, base_prefix, path, user, user_groups, request_info
                )
                return answer
            headers = {
                "Content-Type": "text/calendar",
                "Last-Modified": str(found.last_modified),
                "ETag": found.etag,
            }
            if matches_weakly(environ.get("HTTP_IF_NONE_MATCH", ""), found.etag):
                return HTTPStatus.NOT_MODIFIED, {"ETag": found.etag}, None, None
            return HTTPStatus.OK, headers, found.serialize(), None

    def _freebusy_from_url(self, environ: types.WSGIEnviron, address: Address, user: str) -> Answer:
        """Answer ``?view=freebusy`` from the engine; Radicale would parse every event for it."""
        try:
            start, end = self._freebusy_view_range(parse_qs(environ.get("QUERY_STRING", "")))
        except ValueError:
            raise DavError(
                HTTPStatus.BAD_REQUEST, "", "Give start and end: 20260101T000000Z."
            ) from None
        window = (int(start.timestamp()), int(end.timestamp()))
        reach.wait_for(self.gateway, [user], window, now=self._storage.now())
        with self._storage.acquire_lock("r", user):
            return freebusy.answer_window(self._storage, address, window)

    @dav
    def do_HEAD(self, *args: Any) -> Answer:
        """Answer like GET; Radicale leaves the body out."""
        return self.do_GET(*args)

    @dav
    def do_POST(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Answer free/busy requests at the scheduling outbox; nothing else is posted here."""
        address = Address.parse(path)
        if not user or address.principal not in ("", user):
            return not_yours(user, address.principal)
        if address != Address(user, OUTBOX_NAME):
            raise self._no_such_method(without="POST")
        question = scheduling.read_question(bodies.read_body(environ))
        if is_beyond(question.window, self._storage.now()):
            with self._storage.acquire_lock("r", user):
                people = scheduling.people_of(self._storage, base_prefix, user, question)
            reach.wait_for(self.gateway, people, question.window, now=self._storage.now())
        with self._storage.acquire_lock("r", user):
            return scheduling.answer_question(self._storage, base_prefix, user, question)

    @dav
    def do_PROPFIND(
        self,
        environ: types.WSGIEnviron,
        base_prefix: str,
        path: str,
        user: str,
        user_groups: set[str],
        request_info: dict[str, Any],
    ) -> Answer:
        """Answer properties."""
        if not user or Address.parse(path).principal not in ("", user):
            return not_yours(user, Address.parse(path).principal)
        root = self._read_xml_request_body(environ, request_info)
        with self._storage.acquire_lock("r", user):
            status, headers, body, request = propfind.answer(
                self._storage, environ, base_prefix, path, root
            )
        return status, {**dict(headers), "DAV": DAV_CLASSES}, body, request

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
        """Answer a report; free-busy-query comes from the engine."""
        address = Address.parse(path)
        if not user or address.principal not in ("", user):
            return not_yours(user, address.principal)
        root = self._read_xml_request_body(environ, request_info)
        asked = reach.window_of_report(root) if root is not None and address.principal else None
        if asked is not None:
            reach.wait_for(self.gateway, [user], asked, now=self._storage.now())
        with self._storage.acquire_lock("r", user):
            if root is not None and root.tag == freebusy.QUERY:
                return freebusy.answer_query(self._storage, address, root)
            return reports.answer(self._storage, environ, base_prefix, path, root)

    # --- objects ---

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
        """Create or replace a calendar object."""
        return writing.put(self._request(environ, base_prefix, path, user))

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
        return writing.delete(self._request(environ, base_prefix, path, user))

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
        return writing.move(self._request(environ, base_prefix, path, user))

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
        """Copy an object into another calendar."""
        return writing.copy(self._request(environ, base_prefix, path, user))

    def _request(
        self, environ: types.WSGIEnviron, base_prefix: str, path: str, user: str
    ) -> Request:
        return Request(self.gateway, current_state(), environ, base_prefix, path, user)

    # --- calendars and properties ---

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
            return not_yours(user, address.principal)
        root = self._read_xml_request_body(environ, request_info)
        with self._storage.acquire_lock("w", user, path=path, request="PROPPATCH", actor=user):
            return proppatch.answer(self._storage, environ, base_prefix, path, root)

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
            return not_yours(user, address.principal)
        root = self._read_xml_request_body(environ, request_info)
        if root is not None and root.tag not in _MAKING:
            raise DavError(HTTPStatus.BAD_REQUEST, "", "This body does not make a calendar.")
        steps = proppatch.instructions(root) if root is not None else []
        if proppatch.refused_at_birth(steps):
            return proppatch.creation_refused(steps, is_calendar=is_calendar)
        wanted = read_wanted(steps)
        if not address.calendar or address.name:
            raise DavError(
                HTTPStatus.FORBIDDEN,
                "<C:calendar-collection-location-ok/>",
                "Calendars are made directly in the calendar home.",
            )
        if not (is_calendar or wanted.is_calendar) or wanted.is_other:
            raise DavError(
                HTTPStatus.FORBIDDEN, "<valid-resourcetype/>", "Only calendars can be made here."
            )
        with self._storage.acquire_lock("w", user, path=path, request="MKCALENDAR", actor=user):
            make_local_calendar(self._storage, user, address.calendar, wanted)
        return HTTPStatus.CREATED, {"Cache-Control": "no-cache"}, None, None


def _with_own_words(answer: Any) -> Any:
    """Say what a 401 asks for: Radicale calls it a forbidden resource."""
    status, headers, _body, *rest = answer
    if not status.startswith("401"):
        return answer
    text = b"Log in with a device or platform login and its password.\n"
    kept = [(name, value) for name, value in headers if not name.startswith("Content-")]
    head = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    return (status, [*kept, *head], [text], *rest)


def _printable(text: str) -> str:
    """Return a header without what a database column or a terminal cannot take."""
    return "".join(char for char in text if char.isprintable())
