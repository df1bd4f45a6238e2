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
from gateway.api.http.pieces import check_size, in_pieces, join_pieces, object_in_pieces, whole
from gateway.api.http.routing import Call, Result, json_body
from gateway.api.wire.times import render_instant
from gateway.core.errors import InvalidInput
from gateway.core.intervals import Interval, merge
from gateway.services.availability import free_busy, policy_of
from gateway.store.access.directory import find_by_names
from gateway.store.access.principals import find_principals
from gateway.store.engine import Session

_POINTERS = {"/start": "/timeMin", "/end": "/timeMax"}
_NOT_FOUND = [{"domain": "global", "reason": "notFound"}]


async def query_google_freebusy(call: Call[GoogleQuery, GoogleRequest]) -> Result:
    """Answer Google's freebusy.query: busy periods by calendar, errors beside them."""
    body = call.body
    window = _window(body, call.now)
    zone = ZoneInfo(body.time_zone)
    names = list(dict.fromkeys(item.id for item in body.items))

    subaccount_id = call.key.subaccount_id
    ids = await call.read(find_by_names, names, subaccount_id=subaccount_id)
    await call.reach(list(ids.values()), window)

    def unit(session: Session) -> dict[str, list[Interval]]:
        people = find_principals(session, list(ids.values()))
        check_size(session, list(people), window, pointer="/items")
        policy = policy_of(call.api.settings)
        busy: dict[str, list[Interval]] = {}
        for name, principal_id in ids.items():
            person = people.get(principal_id)
            if person is None:
                continue  # deleted a moment ago
            found = free_busy(session, person, window, policy, now=call.now)
            busy[name] = merge((start, end) for start, end, _status in found.busy)
        return busy

    found = await call.read(unit)
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
