"""free-busy-query (RFC 4791 7.10), on a calendar and merged on the home (R22)."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

from radicale import types

from gateway.core.availability.timeline import FreeBusy
from gateway.core.availability.vfreebusy import render_vfreebusy
from gateway.core.intervals import Interval
from gateway.services.availability import free_busy, load_calendar, policy_of
from gateway.store.access.principals import Principal, get_principal
from storage_plugin.http.errors import DavError
from storage_plugin.http.handlers import Address
from storage_plugin.reports.filters import read_time_range
from storage_plugin.resources.collection import CalendarCollection
from storage_plugin.storage import Storage

QUERY = "{urn:ietf:params:xml:ns:caldav}free-busy-query"
_RANGE = "{urn:ietf:params:xml:ns:caldav}time-range"
MAX_WINDOW_S = 366 * 86_400


def answer_query(storage: Storage, address: Address, root: Any) -> types.WSGIResponse:
    """Answer with exactly one VFREEBUSY; needs an open read unit."""
    element = root.find(_RANGE)
    start, end = read_time_range(element) if element is not None else (None, None)
    if start is None or end is None:
        raise _bad_window()
    return answer_window(storage, address, (start, end))


def answer_window(storage: Storage, address: Address, window: Interval) -> types.WSGIResponse:
    """Answer for one window, of a calendar or merged on the home; needs an open read unit."""
    if not 0 < window[1] - window[0] <= MAX_WINDOW_S:
        raise _bad_window()
    if address.name or not address.principal:
        raise DavError(
            HTTPStatus.FORBIDDEN, "<supported-report/>", "Ask a calendar or the calendar home."
        )
    principal = get_principal(storage.session(), address.principal)
    if address.calendar:
        found = _of_calendar(storage, principal, address, window)
    else:
        found = ask(storage, principal, window)
    body = render_vfreebusy(found.busy, window, uid=str(uuid4()), stamp=storage.now())
    return HTTPStatus.OK, {"Content-Type": "text/calendar"}, body.decode(), None


def ask(storage: Storage, principal: Principal, window: Interval) -> FreeBusy:
    """Ask what the JSON face would say of a principal: one engine for every face (R23)."""
    policy = policy_of(storage.gateway.settings)
    return free_busy(storage.session(), principal, window, policy, now=storage.now())


def _of_calendar(
    storage: Storage, principal: Principal, address: Address, window: Interval
) -> FreeBusy:
    """Ask one calendar alone; what it does not know counts as on the home."""
    found = next(iter(storage.discover(address.collection_path)), None)
    if not isinstance(found, CalendarCollection):
        raise DavError(HTTPStatus.NOT_FOUND, "", "There is no such calendar.")
    timeline = load_calendar(storage.session(), principal.id, found.row.id, window)
    return timeline.answer(window, now=storage.now())


def _bad_window() -> DavError:
    return DavError(
        HTTPStatus.FORBIDDEN, "<C:valid-filter/>", "Give start and end, at most a year apart."
    )
