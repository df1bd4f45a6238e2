"""PUT, DELETE, MOVE and COPY of calendar objects: callers of the one write path.

A body is read, parsed and expanded before the lock; conditions are checked under it, against what
is there by then (:mod:`gateway.services.objects`).
"""

import re
from collections.abc import Callable
from http import HTTPStatus

from gateway.core.errors import InvalidCalendarData
from gateway.services import local_calendars, moves, objects
from gateway.services.objects import ParsedObject, Place, Prepared, Write
from gateway.store.booking.loading import Loaded
from gateway.store.objects.collections import Collection
from gateway.store.objects.horizons import is_beyond
from gateway.store.objects.objects import StoredObject
from storage_plugin.http.conditions import check_write, precondition_failed
from storage_plugin.http.errors import Answer, DavError, need_privileges
from storage_plugin.http.handlers import Address, not_yours, path_of
from storage_plugin.reports import beyond_window
from storage_plugin.requests import Request
from storage_plugin.resources.etags import ctag_of, quoted

_CALENDAR_TYPES = ("", "text/calendar", "application/octet-stream", "text/plain")
_METHOD = re.compile(rb"^METHOD[:;]", re.MULTILINE | re.IGNORECASE)
"""RFC 4791 4.1; a folded text begins its lines with a blank, so this is no part of one."""
OVERLAP_HEADER = "HTTP_X_GATEWAY_ALLOW_OVERLAP"
"""``T``: the platform says that this appointment may lie on busy time (R27)."""


def put(request: Request) -> Answer:
    """Create or replace a calendar object; the body is kept byte for byte."""
    address = request.address
    if not request.user or address.principal != request.user:
        return not_yours(request.user, address.principal)
    body = request.body()
    if not address.name:
        raise _whole_collection()
    place = _place_of(address)
    loaded = objects.load_place(request.session(), place, now=request.now())
    collection = _calendar_of(request, loaded)
    if collection.kind == "mirror":
        _refuse_copy(request, uid_of(body))
        check_writable(collection, request.path)
    write = Write(
        place,
        _parse(request, body),
        request.login_kind,
        allow_overlap=request.header(OVERLAP_HEADER).upper() == "T",
    )
    if collection.kind != "platform":
        _refuse_copy(request, write.parsed.content.uid)
    prepared = _prepare(request, write, loaded)

    def check(found: Loaded) -> None:
        there = _calendar_of(request, found)
        check_write(request.environ, request.full_path, _etag_of(found.member))
        check_writable(there, request.path)
        _check_component(there, write.parsed.content.component)

    with request.writing() as session:
        written = objects.put(session, write, prepared, check=check, now=request.now())
    status = HTTPStatus.CREATED if written.is_new else HTTPStatus.NO_CONTENT
    return status, {"ETag": quoted(written.stored.etag)}, None, None


def delete(request: Request) -> Answer:
    """Delete an object or a local calendar."""
    address = request.address
    if not request.user or address.principal != request.user:
        return not_yours(request.user, address.principal)
    if not address.calendar:
        raise need_privileges(request.path, "unbind", "A calendar home cannot be deleted.")
    place = _place_of(address)

    def check(found: Loaded) -> None:
        collection = _calendar_of(request, found, missing=HTTPStatus.NOT_FOUND)
        member = _served_member(found)
        check_writable(collection, request.path, privilege="unbind")
        check_write(request.environ, request.full_path, _etag_of(member))

    def check_calendar(found: Collection | None) -> None:
        collection = _check_visible(request, found, HTTPStatus.NOT_FOUND)
        check_write(request.environ, request.full_path, ctag_of(collection))

    with request.writing() as session:
        if not address.name:
            local_calendars.delete_calendar(
                session, request.user, address.calendar, check=check_calendar
            )
        elif request.login_kind == "platform":
            objects.delete(session, place, check=check, now=request.now())
        else:
            moves.delete_by_device(session, place, check=check, now=request.now())
    return HTTPStatus.NO_CONTENT, {}, None, None


def move(request: Request) -> Answer:
    """Move an object, inside its calendar or into another one."""

    def check(here: Loaded, there: Loaded, target: Address) -> None:
        origin = _calendar_of(request, here, missing=HTTPStatus.NOT_FOUND)
        check_writable(_calendar_of(request, there), target.path, privilege="bind")
        check_writable(origin, request.path, privilege="unbind")

    return _transfer(request, check, keep=False)


def copy(request: Request) -> Answer:
    """Copy an object into another calendar, where it becomes what a PUT would make of it."""

    def check(_here: Loaded, there: Loaded, target: Address) -> None:
        check_writable(_calendar_of(request, there), target.path, privilege="bind")

    return _transfer(request, check, keep=True)


# --- parts ---


def _transfer(
    request: Request, check_both: Callable[[Loaded, Loaded, Address], None], *, keep: bool
) -> Answer:
    source = request.address
    target = Address.parse(_destination(request))
    if not request.user or source.principal != request.user:
        return not_yours(request.user, source.principal)
    if target.principal != request.user:
        raise _forbidden("The Destination is not in your calendars.")
    if not source.name or not target.name:
        raise _forbidden("Calendars cannot be moved or copied; rename them.")
    if source == target:
        raise _forbidden("Source and destination are the same.")

    def check(here: Loaded, there: Loaded) -> None:
        _calendar_of(request, here, missing=HTTPStatus.NOT_FOUND)
        member = _served_member(here)
        check_write(request.environ, request.full_path, _etag_of(member))
        check_both(here, there, target)
        overwrites = request.header("HTTP_OVERWRITE").strip().upper() != "F"
        if there.member is not None and not overwrites:
            raise precondition_failed("There is something at the destination.")
        _check_component(_calendar_of(request, there), member.component)

    places = _place_of(source), _place_of(target)
    with request.writing() as session:
        if keep:
            replaced = objects.copy(
                session, *places, login_kind=request.login_kind, check=check, now=request.now()
            )
        else:
            replaced = objects.move(session, *places, check=check, now=request.now())
    return (HTTPStatus.NO_CONTENT if replaced else HTTPStatus.CREATED), {}, None, None


def _prepare(request: Request, write: Write, loaded: Loaded) -> Prepared:
    """Expand before the lock; wait for what lies beyond the window and must be known to book."""
    prepared = objects.prepare_write(write, loaded)
    takes = objects.time_to_know(request.session(), write, prepared)
    if takes is None or not is_beyond(takes, request.now()):
        return prepared
    beyond_window.wait_for(request.gateway, [request.user], takes, now=request.now())
    loaded = objects.load_place(request.session(), write.place, now=request.now())
    return objects.prepare_write(write, loaded)


def _refuse_copy(request: Request, uid: str) -> None:
    """Refuse what a phone puts elsewhere when it moves an appointment, and keep that in mind.

    Noted in a unit of its own, for a refusal keeps nothing.
    """
    if request.login_kind == "platform" or not uid:
        return
    if not moves.may_be_copy(request.session(), request.user, uid, now=request.now()):
        return
    with request.writing() as session:
        is_copy = moves.refuses_copy(session, request.user, uid, now=request.now())
    if is_copy:
        raise moves.appointment_stays()


def _place_of(address: Address) -> Place:
    return Place(address.principal, address.calendar, address.name)


def _calendar_of(
    request: Request, loaded: Loaded, *, missing: HTTPStatus = HTTPStatus.CONFLICT
) -> Collection:
    """Return the calendar that was found; raises ``missing`` when this login sees none."""
    return _check_visible(request, loaded.collection, missing)


def _check_visible(
    request: Request, collection: Collection | None, missing: HTTPStatus
) -> Collection:
    if collection is None or (collection.kind == "mirror" and not request.state.show_mirrors):
        raise DavError(missing, "", "There is no such calendar.")
    return collection


def _served_member(loaded: Loaded) -> StoredObject:
    if loaded.member is None or not loaded.member.served:
        raise DavError(HTTPStatus.NOT_FOUND, "", "There is no such event.")
    return loaded.member


def check_writable(collection: Collection, path: str, *, privilege: str = "write-content") -> None:
    """Raise the refusal of R20 for a mirror."""
    if collection.kind == "mirror":
        raise need_privileges(
            path,
            privilege,
            "This calendar is a read-only copy of an iCloud calendar. "
            "Change the event in iCloud; it will change here by itself.",
        )


def _check_component(collection: Collection, component: str) -> None:
    """Raise for a component this calendar does not hold (RFC 4791 5.2.3)."""
    if component not in collection.components:
        raise DavError(
            HTTPStatus.FORBIDDEN,
            "<C:supported-calendar-component/>",
            f"This calendar holds {', '.join(collection.components)} only.",
        )


def _etag_of(member: StoredObject | None) -> str | None:
    return None if member is None else quoted(member.etag)


def _parse(request: Request, body: bytes) -> ParsedObject:
    kind = request.header("CONTENT_TYPE").partition(";")[0].strip().lower()
    if kind not in _CALENDAR_TYPES:
        raise DavError(HTTPStatus.FORBIDDEN, "<C:supported-calendar-data/>", "Send text/calendar.")
    limit = request.gateway.settings.max_resource_size
    if len(body) > limit:
        raise DavError(HTTPStatus.FORBIDDEN, "<C:max-resource-size/>", f"At most {limit} bytes.")
    if _METHOD.search(body):
        raise DavError(
            HTTPStatus.FORBIDDEN,
            "<C:valid-calendar-object-resource/>",
            "An event has no METHOD; only a message that is mailed has one.",
        )
    return objects.parse(body)


def _destination(request: Request) -> str:
    """Return the path a Destination header names; raises 400.

    The host is not compared: behind a proxy it need not be the one we see.
    """
    raw = request.header("HTTP_DESTINATION")
    try:
        path = path_of(raw)
    except ValueError:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The Destination is no address.") from None
    if not raw or not (path + "/").startswith(request.base_prefix + "/"):
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The Destination is not on this server.")
    return path.removeprefix(request.base_prefix) or "/"


def _forbidden(text: str) -> DavError:
    return DavError(HTTPStatus.FORBIDDEN, "", text)


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
        return objects.parse(body).content.uid
    except InvalidCalendarData:
        return ""
