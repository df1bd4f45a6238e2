"""free-busy-query (RFC 4791 7.10), on a calendar and merged on the home (R22)."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

from radicale import types

from gateway.core.busy import coalesce, render_vfreebusy
from gateway.store.busy import busy_rows, list_sources
from gateway.store.collections import find_collection
from storage_plugin.errors import DavError
from storage_plugin.filters import read_time_range
from storage_plugin.state import current_state
from storage_plugin.storage import Storage

QUERY = "{urn:ietf:params:xml:ns:caldav}free-busy-query"
_RANGE = "{urn:ietf:params:xml:ns:caldav}time-range"
MAX_WINDOW_S = 366 * 86_400


def answer_query(storage: Storage, calendar: str, root: Any) -> types.WSGIResponse:
    """Answer with exactly one VFREEBUSY."""
    element = root.find(_RANGE)
    start, end = read_time_range(element) if element is not None else (None, None)
    if start is None or end is None or end - start > MAX_WINDOW_S:
        raise DavError(
            HTTPStatus.FORBIDDEN, "<C:valid-filter/>", "Give start and end, at most a year apart."
        )
    principal_id = current_state().principal_id
    with storage.acquire_lock("r", principal_id):
        session = storage.session()
        ids = [source.collection_id for source in list_sources(session, principal_id)]
        if calendar:
            row = find_collection(session, principal_id, calendar)
            if row is None:
                raise DavError(HTTPStatus.NOT_FOUND, "", "There is no such calendar.")
            ids = [row.id]
        rows = busy_rows(session, principal_id, (start, end), ids)
    periods = coalesce([(low, high, kind) for low, high, kind, _id in rows], (start, end))
    body = render_vfreebusy(periods, (start, end), uid=str(uuid4()), stamp=storage.now())
    return HTTPStatus.OK, {"Content-Type": "text/calendar"}, body.decode(), None
