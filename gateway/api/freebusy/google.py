"""Handlers: Google's ``freebusy.query``, so that code written for Google works unchanged (R23).

Calendars are people here: an item's ``id`` is a principal id, an external id or an e-mail address.
Everything that blocks is busy, unknown time too, because Google's answer has no word for it; whom
the key cannot see is ``notFound``. Fields and parameters that Google knows and that mean nothing
here are taken and ignored.
"""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import orjson

from gateway.api.freebusy.google_shapes import GoogleQuery, GoogleRequest
from gateway.api.freebusy.handlers import check_window
from gateway.api.http.pieces import in_pieces, join_pieces, object_in_pieces, whole
from gateway.api.http.routing import Call, Result, json_body
from gateway.api.wire.times import render_instant
from gateway.core.errors import InvalidInput
from gateway.core.intervals import Interval
from gateway.services.availability import policy_of
from gateway.services.questions import ask_names
from gateway.store.access.directory import find_by_names

_POINTERS = {"/start": "/timeMin", "/end": "/timeMax"}
_NOT_FOUND = [{"domain": "global", "reason": "notFound"}]


async def query_google_freebusy(call: Call[GoogleQuery, GoogleRequest]) -> Result:
    """Answer Google's freebusy.query: busy periods by calendar, errors beside them."""
    body = call.body
    window = _window(body, call.now)
    zone = ZoneInfo(body.time_zone)
    names = list(dict.fromkeys(item.id for item in body.items))

    ids = await call.read(find_by_names, names, subaccount_id=call.bound)
    await call.reach(list(ids.values()), window)

    policy = policy_of(call.api.settings)
    found = await call.read(ask_names, ids, window, policy, now=call.now)
    head = {
        "kind": "calendar#freeBusy",
        "timeMin": _milliseconds(window[0]),
        "timeMax": _milliseconds(window[1]),
    }
    calendars = ((name, _in_pieces(found.get(name), zone)) for name in names)
    members = [(name, whole(value)) for name, value in head.items()]
    pieces = object_in_pieces([*members, ("calendars", object_in_pieces(calendars))])
    return json_body(await join_pieces(pieces))


async def query_google_freebusy_below_root(call: Call[GoogleQuery, GoogleRequest]) -> Result:
    """Answer the same where Google's client libraries look for it below a root URL."""
    return await query_google_freebusy(call)


def _window(body: GoogleRequest, now: int) -> Interval:
    try:
        return check_window(body.time_min, body.time_max, now=now)
    except InvalidInput as error:
        pointer = _POINTERS.get(error.pointer or "", error.pointer)
        raise InvalidInput(error.detail, code=error.code, pointer=pointer) from None


def _in_pieces(busy: list[Interval] | None, zone: ZoneInfo) -> Iterator[bytes]:
    if busy is None:
        return whole({"errors": _NOT_FOUND, "busy": []})
    shown = (
        orjson.dumps({"start": render_instant(start, zone), "end": render_instant(end, zone)})
        for start, end in busy
    )
    return object_in_pieces([("busy", in_pieces(shown))])


def _milliseconds(epoch: int) -> str:
    return render_instant(epoch).replace("Z", ".000Z")
