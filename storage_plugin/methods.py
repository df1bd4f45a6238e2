"""The methods of HTTP and WebDAV that are answered here, each a function from request to answer.

They refuse with a DAV precondition and a sentence: :class:`DavError` leaves every unit of work as
an exception, so nothing of a refused request stays.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qs, quote

from gateway.core.intervals import DAY, Interval
from gateway.services import local_calendars
from gateway.store.objects.collections import Collection
from gateway.store.objects.horizons import is_beyond
from gateway.store.objects.objects import list_objects
from storage_plugin.http.conditions import matches_weakly
from storage_plugin.http.errors import Answer, DavError
from storage_plugin.http.handlers import Address, not_yours, nothing_here
from storage_plugin.objects import writing
from storage_plugin.reports import beyond_window, freebusy, scheduling
from storage_plugin.reports import report as reports
from storage_plugin.reports.export import export
from storage_plugin.requests import Request
from storage_plugin.resources import propfind, proppatch, setup
from storage_plugin.resources.calendars import check_can_be_made, components_of, read_wanted
from storage_plugin.resources.etags import ctag_of, http_date, quoted
from storage_plugin.resources.find import OUTBOX_NAME, to_text

DAV_CLASSES = "1, 3, calendar-access, extended-mkcol"
_MAKING = ("{DAV:}mkcol", "{urn:ietf:params:xml:ns:caldav}mkcalendar")
_VIEW_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
VIEW_BEFORE_S, VIEW_AFTER_S = 7 * DAY, 90 * DAY
"""What ``?view=freebusy`` answers when it names no time."""


def options(_request: Request) -> Answer:
    """Announce what is here: no class 2, for there are no locks."""
    return HTTPStatus.OK, {"Allow": ", ".join(sorted(METHODS)), "DAV": DAV_CLASSES}, None, None


def no_such_method(*, without: str = "") -> DavError:
    """405, which has to say what is allowed (RFC 9110 15.5.6)."""
    allow = ", ".join(name for name in sorted(METHODS) if name != without)
    text = f"{without or 'This method'} is not used here."
    return DavError(HTTPStatus.METHOD_NOT_ALLOWED, "", text, headers={"Allow": allow})


# --- reading ---


def get(request: Request) -> Answer:
    """Return an object, a whole calendar, or a word of help for a person with a browser."""
    if not request.path.strip("/"):
        return setup.welcome()
    if request.path == setup.PROFILE_PATH:
        return setup.profile(request) if request.user else not_yours("", "")
    if not request.user or request.address.principal != request.user:
        return not_yours(request.user, request.address.principal)
    query = parse_qs(request.header("QUERY_STRING"), keep_blank_values=True)
    if "freebusy" in query.get("view", ()):
        window = _view_window(query, request.now())
        beyond_window.wait_for(request.gateway, [request.user], window, now=request.now())
        return freebusy.answer_window(request, window)
    found = request.find()
    if found is None:
        raise nothing_here()
    if found.member is not None:
        member = found.member
        etag = quoted(member.etag)
        if matches_weakly(request.header("HTTP_IF_NONE_MATCH"), etag):
            return HTTPStatus.NOT_MODIFIED, {"ETag": etag}, None, None
        head = {"Content-Type": "text/calendar", "ETag": etag}
        head["Last-Modified"] = http_date(member.updated_at)
        return HTTPStatus.OK, head, to_text(member.body), None
    if found.row is not None:
        return _whole_calendar(request, found.row)
    if found.kind == "outbox":
        return HTTPStatus.FORBIDDEN, {"Content-Type": "text/plain"}, _NO_LISTING, None
    return setup.welcome()


_NO_LISTING = "Directory listings are not supported."


def _whole_calendar(request: Request, row: Collection) -> Answer:
    """Return all objects of a calendar as one file."""
    effort = request.state.effort

    def texts() -> Iterator[str]:
        for member in list_objects(request.session(), row.id, with_bodies=True):
            effort.tick()
            yield to_text(member.body)

    title = row.display_name or "Calendar"
    title = title if title.lower().endswith(".ics") else f"{title}.ics"
    head = {
        "Content-Type": "text/calendar",
        "Last-Modified": http_date(row.updated_at),
        "ETag": ctag_of(row),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(title, errors='replace')}",
    }
    description = row.properties.get("{urn:ietf:params:xml:ns:caldav}calendar-description")
    body = export(texts(), name=row.display_name, description=description)
    return HTTPStatus.OK, head, body, None


def _view_window(query: dict[str, list[str]], now: int) -> Interval:
    """Return the window of ``?view=freebusy``; raises 400."""
    given = query.get("start", []), query.get("end", [])
    if not any(given):
        today = now - now % DAY
        return today - VIEW_BEFORE_S, today + VIEW_AFTER_S
    times = [_view_time(one[0]) for one in given if len(one) == 1]
    start, end = times if len(times) == 2 else (None, None)
    if start is None or end is None or end < start:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "Give start and end: 20260101T000000Z.")
    return start, end


def _view_time(text: str) -> int | None:
    if not _VIEW_TIME.fullmatch(text):
        return None
    try:
        return int(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def post(request: Request) -> Answer:
    """Answer free/busy requests at the scheduling outbox; nothing else is posted here."""
    address = request.address
    if not request.user or address.principal not in ("", request.user):
        return not_yours(request.user, address.principal)
    if address != Address(request.user, OUTBOX_NAME):
        raise no_such_method(without="POST")
    question = scheduling.read_question(request.body())
    if is_beyond(question.window, request.now()):
        people = scheduling.people_of(request, question)
        beyond_window.wait_for(request.gateway, people, question.window, now=request.now())
    return scheduling.answer_question(request, question)


def find_properties(request: Request) -> Answer:
    """Answer PROPFIND."""
    if not request.user or request.address.principal not in ("", request.user):
        return not_yours(request.user, request.address.principal)
    status, headers, body, more = propfind.answer(request, request.xml())
    return status, {**headers, "DAV": DAV_CLASSES}, body, more


def report(request: Request) -> Answer:
    """Answer a report; free-busy-query comes from the engine."""
    address = request.address
    if not request.user or address.principal not in ("", request.user):
        return not_yours(request.user, address.principal)
    root = request.xml()
    asked = beyond_window.window_of_report(root) if root is not None and address.principal else None
    if asked is not None:
        beyond_window.wait_for(request.gateway, [request.user], asked, now=request.now())
    if root is not None and root.tag == freebusy.QUERY:
        return freebusy.answer_query(request, root)
    return reports.answer(request, root)


# --- calendars and properties ---


def mkcalendar(request: Request) -> Answer:
    """Make a local calendar (RFC 4791 5.3.1)."""
    return _make(request, is_calendar=True)


def mkcol(request: Request) -> Answer:
    """Make a local calendar by extended MKCOL (RFC 5689); plain collections are refused."""
    return _make(request, is_calendar=False)


def change_properties(request: Request) -> Answer:
    """Answer PROPPATCH, with a true answer for each property (RFC 4918 9.2)."""
    if not request.user or request.address.principal != request.user:
        return not_yours(request.user, request.address.principal)
    return proppatch.answer(request, request.xml())


def _make(request: Request, *, is_calendar: bool) -> Answer:
    address = request.address
    if not request.user or address.principal != request.user:
        return not_yours(request.user, address.principal)
    root = request.xml()
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
    check_can_be_made(address.calendar, request.user, request.gateway.settings)
    components = components_of(wanted)
    with request.writing() as session:
        local_calendars.make_calendar(
            session,
            request.user,
            address.calendar,
            wanted.change,
            components=components,
            now=request.now(),
        )
    return HTTPStatus.CREATED, {"Cache-Control": "no-cache"}, None, None


METHODS: dict[str, Callable[[Request], Answer]] = {
    "COPY": writing.copy,
    "DELETE": writing.delete,
    "GET": get,
    "HEAD": get,  # the body is left out when the answer is written
    "MKCALENDAR": mkcalendar,
    "MKCOL": mkcol,
    "MOVE": writing.move,
    "OPTIONS": options,
    "POST": post,
    "PROPFIND": find_properties,
    "PROPPATCH": change_properties,
    "PUT": writing.put,
    "REPORT": report,
}
