"""free-busy-query (RFC 4791 7.10), on a calendar and merged on the home (R22)."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

from gateway.core.availability.timeline import FreeBusy
from gateway.core.availability.vfreebusy import render_vfreebusy
from gateway.core.intervals import Interval
from gateway.services.availability import free_busy, load_calendar, policy_of
from gateway.store.access.principals import Principal, get_principal
from storage_plugin.http.errors import Answer, DavError
from storage_plugin.reports.filters import read_time_range
from storage_plugin.requests import Request

QUERY = "{urn:ietf:params:xml:ns:caldav}free-busy-query"
_RANGE = "{urn:ietf:params:xml:ns:caldav}time-range"
MAX_WINDOW_S = 366 * 86_400


def answer_query(request: Request, root: Any) -> Answer:
    """Answer with exactly one VFREEBUSY."""
    element = root.find(_RANGE)
    start, end = read_time_range(element) if element is not None else (None, None)
    if start is None or end is None:
        raise _bad_window()
    return answer_window(request, (start, end))


def answer_window(request: Request, window: Interval) -> Answer:
    """Answer for one window, of a calendar or merged on the home."""
    if not 0 < window[1] - window[0] <= MAX_WINDOW_S:
        raise _bad_window()
    address = request.address
    if address.name or not address.principal:
        raise DavError(
            HTTPStatus.FORBIDDEN, "<supported-report/>", "Ask a calendar or the calendar home."
        )
    principal = get_principal(request.session(), address.principal)
    if address.calendar:
        found = _of_calendar(request, principal, window)
    else:
        found = ask(request, principal, window)
    body = render_vfreebusy(found.busy, window, uid=str(uuid4()), stamp=request.now())
    return HTTPStatus.OK, {"Content-Type": "text/calendar"}, body.decode(), None


def ask(request: Request, principal: Principal, window: Interval) -> FreeBusy:
    """Ask what the JSON face would say of a principal: one engine for every face (R23)."""
    policy = policy_of(request.gateway.settings)
    return free_busy(request.session(), principal, window, policy, now=request.now())


def _of_calendar(request: Request, principal: Principal, window: Interval) -> FreeBusy:
    """Ask one calendar alone; what it does not know counts as on the home."""
    found = request.find()
    if found is None or found.row is None:
        raise DavError(HTTPStatus.NOT_FOUND, "", "There is no such calendar.")
    timeline = load_calendar(request.session(), principal.id, found.row.id, window)
    return timeline.answer(window, now=request.now())


def _bad_window() -> DavError:
    return DavError(
        HTTPStatus.FORBIDDEN, "<C:valid-filter/>", "Give start and end, at most a year apart."
    )
