"""Handlers: free/busy (R22-R26). No title ever passes here."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from gateway.api.accounts.people import find_own
from gateway.api.freebusy.shapes import FreeBusyQuery, FreeBusyRequest
from gateway.api.http.pieces import (
    PIECE,
    check_size,
    in_pieces,
    join_pieces,
    object_in_pieces,
    periods,
    stream_pieces,
    whole,
)
from gateway.api.http.routing import AnyCall, Call, Result, json_body
from gateway.api.http.state import ApiState
from gateway.api.process.timelines import Rendered
from gateway.api.wire.answers import (
    digest_question,
    digest_states,
    has_etag,
    make_etag,
    render_source,
)
from gateway.api.wire.ready import ReadyAnswer
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant
from gateway.core.errors import GatewayError, InvalidInput
from gateway.core.intervals import Interval
from gateway.services.availability import FreeBusy, free_busy
from gateway.store.access.keys import ApiKey
from gateway.store.access.principals import Principal, find_principals
from gateway.store.engine import Session, chunks

DAY_S = 86_400
MAX_WINDOW_S = 366 * DAY_S
MAX_DISTANCE_S = 5 * 366 * DAY_S
PEOPLE_AT_ONCE = 10


def check_window(start: int, end: int, *, now: int, longest_s: int = MAX_WINDOW_S) -> Interval:
    """Return the window; raises :class:`InvalidInput` for reversed, long and far-off ones."""
    if end <= start:
        raise InvalidInput("end must be after start.", code="window-reversed", pointer="/end")
    if end - start > longest_s:
        raise InvalidInput(
            f"A window may be {longest_s // DAY_S} days long; ask in pieces.",
            code="window-too-wide",
            pointer="/end",
        )
    if end > now + MAX_DISTANCE_S:
        raise InvalidInput(
            "Nothing is computed more than five years ahead.", code="window-too-far", pointer="/end"
        )
    if start < now - MAX_DISTANCE_S:
        raise InvalidInput(
            "Nothing is kept more than five years back.", code="window-too-far", pointer="/start"
        )
    return (start, end)


def recall_freebusy(
    request: web.Request, api: ApiState, key: ApiKey, query: FreeBusyQuery, now: int
) -> ReadyAnswer | None:
    """Answer the plain question from a timeline in memory; None when none there can tell."""
    window = check_window(query.start, query.end, now=now)
    principal_id = request.match_info["principal"]
    entry = api.timelines.peek(principal_id, window, now)
    found = _from_memory(api, key, query, now, entry)
    if found is None:
        return None
    api.activity.note(principal_id)
    return _conditional(request, *found)


def _from_memory(
    api: ApiState,
    key: ApiKey,
    asked: FreeBusyQuery | FreeBusyRequest,
    now: int,
    entry: Rendered | None,
) -> tuple[str, bytes] | None:
    """Return the ETag and the JSON of a plain question; None when ``entry`` cannot tell."""
    if entry is None or not asked.is_plain or asked.time_zone not in (None, entry.zone.key):
        return None
    if key.subaccount_id not in (None, entry.timeline.subaccount_id):
        return None  # the long way says that there is no such principal
    return entry.answer((asked.start, asked.end), now=now, fresh_for_s=api.settings.fresh_for_s)


async def _from_timeline(
    call: Call[Any, Any], principal_id: str, window: Interval
) -> tuple[Rendered | None, tuple[str, bytes] | None]:
    """Like :func:`_from_memory`, for a plain question that may wait until a timeline is built."""
    entry = await call.api.timelines.find(principal_id, window, now=call.now)
    if entry is not None:
        await entry.prepare(window)
    asked = call.query if call.body is None else call.body
    return entry, _from_memory(call.api, call.key, asked, call.now, entry)


def _compute(
    session: Session,
    call: AnyCall,
    asked: FreeBusyQuery | FreeBusyRequest,
    principal: Principal,
    window: Interval,
) -> FreeBusy:
    """Compute one answer the long way; raises what :func:`free_busy` raises."""
    return free_busy(
        session,
        principal,
        window,
        now=call.now,
        on_unknown=asked.on_unknown,
        on_tentative=asked.on_tentative,
        time_zone=asked.time_zone,
        fresh_for_s=call.api.settings.fresh_for_s,
    )


async def get_freebusy(call: Call[FreeBusyQuery, None]) -> Result:
    """Return merged busy time of one principal, or 304 when it is what the caller has."""
    query = call.query
    window = check_window(query.start, query.end, now=call.now)
    await call.read(find_own, call)  # whose it is comes before anything is done about it
    call.api.activity.note(call.path("principal"))
    await call.reach([call.path("principal")], window)
    if query.is_plain:
        _, fast = await _from_timeline(call, call.path("principal"), window)
        if fast is not None:
            return _conditional(call.request, *fast)

    by_day = query.group_by == "day"

    def unit(session: Session) -> FreeBusy:
        principal = find_own(session, call)
        check_size(session, [principal.id], window, by_day=by_day, pointer="/end")
        return _compute(session, call, query, principal, window)

    found = await call.read(unit)
    body = await join_pieces(free_busy_pieces(found, by_day=by_day))
    return _conditional(call.request, weak_etag(found, query.group_by), body)


def _conditional(request: web.Request, etag: str, body: bytes) -> ReadyAnswer:
    known = "If-None-Match" in request.headers and has_etag(request, etag)
    return ReadyAnswer(etag, None if known else body)


def weak_etag(found: FreeBusy, group_by: str | None) -> str:
    """Digest what the answer depends on; ages are left out, so time alone changes nothing."""
    digest = digest_question(
        found.time_zone,
        found.revision,
        found.on_unknown,
        found.on_tentative,
        group_by,
        digest_states(found.sources),
    )
    window = (found.start, found.end)
    return make_etag(window, digest, complete=found.complete, holds=found.holds)


@dataclass(frozen=True, slots=True)
class Ready:
    """One person's answer as JSON, with the number of its periods."""

    json: bytes
    periods: int


Answers = dict[str, FreeBusy | Ready | GatewayError | None]


async def post_freebusy(call: Call[NoQuery, FreeBusyRequest]) -> Result:
    """Return merged busy time of several principals; one without an answer fails alone.

    An answer of more than 100,000 periods is refused before it is computed (`answer-too-large`).
    """
    body = call.body
    window = check_window(body.start, body.end, now=call.now)
    wanted = list(dict.fromkeys(body.principals))
    await call.reach(wanted, window)
    known = await call.read(_find_all, call, wanted, window)
    found: Answers = dict.fromkeys(wanted)
    if body.is_plain:
        found |= await _recall_all(call, list(known), window)
    rest = [one for one in known if found[one] is None]
    for some in chunks(rest, PEOPLE_AT_ONCE):  # so that others are read in between
        found |= await call.read(_answer_all, call, [known[one] for one in some], window)
    pieces = _answers_in_pieces(found, body)
    if call.is_replayable or sum(map(_size, found.values())) <= PIECE:
        return json_body(await join_pieces(pieces))
    return await stream_pieces(call.request, pieces)


def _find_all(
    session: Session, call: Call[NoQuery, FreeBusyRequest], wanted: list[str], window: Interval
) -> dict[str, Principal]:
    """Return those whom the caller may ask about, once the answer is known to be small enough."""
    known = find_principals(session, wanted, subaccount_id=call.key.subaccount_id)
    by_day = call.body.group_by == "day"
    check_size(session, list(known), window, by_day=by_day, pointer="/principals")
    return known


async def _recall_all(
    call: Call[NoQuery, FreeBusyRequest], principal_ids: list[str], window: Interval
) -> Answers:
    """Answer for those whose timelines can tell; the caller may ask about all of them."""
    answers: Answers = {}
    for number, principal_id in enumerate(principal_ids, 1):
        entry, found = await _from_timeline(call, principal_id, window)
        if entry is not None and found is not None:
            answers[principal_id] = Ready(found[1], len(entry.timeline.between(window)))
        if number % PEOPLE_AT_ONCE == 0:
            await asyncio.sleep(0)
    return answers


def _answer_all(
    session: Session,
    call: Call[NoQuery, FreeBusyRequest],
    people: list[Principal],
    window: Interval,
) -> Answers:
    answers: Answers = {}
    for principal in people:
        try:
            answers[principal.id] = _compute(session, call, call.body, principal, window)
        except GatewayError as error:
            if error.code != "availability-unknown":
                raise
            answers[principal.id] = error
    return answers


def _answers_in_pieces(found: Answers, body: FreeBusyRequest) -> Iterator[bytes]:
    by_day = body.group_by == "day"
    faults = {
        name: _fault(answer, body.principals.index(name))
        for name, answer in found.items()
        if not isinstance(answer, FreeBusy | Ready)
    }
    people = (
        (
            name,
            [answer.json] if isinstance(answer, Ready) else free_busy_pieces(answer, by_day=by_day),
        )
        for name, answer in found.items()
        if isinstance(answer, FreeBusy | Ready)
    )
    return object_in_pieces([("principals", object_in_pieces(people)), ("errors", whole(faults))])


def _size(answer: FreeBusy | Ready | GatewayError | None) -> int:
    if isinstance(answer, Ready):
        return answer.periods
    return len(answer.busy) if isinstance(answer, FreeBusy) else 1


def _fault(error: GatewayError | None, position: int) -> dict[str, str]:
    code = "not-found" if error is None else error.code
    detail = "There is no such principal." if error is None else error.detail
    return {"pointer": f"/principals/{position}", "code": code, "detail": detail}


# --- rendering ---


def render_free_busy(found: FreeBusy, *, by_day: bool = False) -> dict[str, Any]:
    """Shape one answer; every time carries the offset of the asked zone."""
    zone = ZoneInfo(found.time_zone)
    answer = {
        **_head(found, zone),
        "busy": list(periods(found.busy, zone)),
        "sources": [render_source(source, zone) for source in found.sources],
    }
    if by_day:
        answer["days"] = list(_days(found, zone))
    return answer


def free_busy_pieces(found: FreeBusy, *, by_day: bool = False) -> Iterator[bytes]:
    """Render the JSON of :func:`render_free_busy` in pieces."""
    zone = ZoneInfo(found.time_zone)
    members = [(name, whole(value)) for name, value in _head(found, zone).items()]
    members.append(("busy", in_pieces(periods(found.busy, zone))))
    members.append(("sources", whole([render_source(one, zone) for one in found.sources])))
    if by_day:
        members.append(("days", in_pieces(_days(found, zone))))
    return object_in_pieces(members)


def _head(found: FreeBusy, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "start": render_instant(found.start, zone),
        "end": render_instant(found.end, zone),
        "time_zone": found.time_zone,
        "revision": found.revision,
        "complete": found.complete,
        "policy": {"on_unknown": found.on_unknown, "on_tentative": found.on_tentative},
    }


def _days(found: FreeBusy, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    """Cut the answer at the midnights of ``zone``; a day may have 23 or 25 hours."""
    day = datetime.fromtimestamp(found.start, zone).date()
    first = 0
    while True:
        begin, until = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        if begin >= found.end:
            return
        low, high = max(begin, found.start), min(until, found.end)
        while first < len(found.busy) and found.busy[first][1] <= low:
            first += 1
        rows = []
        for at in range(first, len(found.busy)):
            start, end, status = found.busy[at]
            if start >= high:
                break
            rows.append((max(start, low), min(end, high), status))
        yield {
            "date": day.isoformat(),
            "start": render_instant(low, zone),
            "end": render_instant(high, zone),
            "busy": list(periods(rows, zone)),
        }
        day += timedelta(days=1)


def _midnight(day: Any, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
