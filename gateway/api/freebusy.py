"""Handlers: free/busy (R22-R26). No title ever passes here."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from gateway.api.answers import digest_question, digest_states, has_etag, make_etag, render_source
from gateway.api.people import find_own
from gateway.api.ready import ReadyAnswer
from gateway.api.routing import Call, Result
from gateway.api.schemas import NoQuery
from gateway.api.schemas_freebusy import FreeBusyQuery, FreeBusyRequest
from gateway.api.state import ApiState
from gateway.api.timelines import Rendered
from gateway.api.times import render_instant
from gateway.core.busy import BusyRow
from gateway.core.errors import GatewayError, InvalidInput
from gateway.core.intervals import Interval
from gateway.services.availability import FreeBusy, free_busy
from gateway.store.engine import Session
from gateway.store.keys import ApiKey
from gateway.store.principals import find_principals

DAY_S = 86_400
MAX_WINDOW_S = 366 * DAY_S
MAX_DISTANCE_S = 5 * 366 * DAY_S


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
    answer = _from_memory(request, api, key, query, now, entry)
    if answer is not None:
        api.activity.note(principal_id)
    return answer


def _from_memory(
    request: web.Request,
    api: ApiState,
    key: ApiKey,
    query: FreeBusyQuery,
    now: int,
    entry: Rendered | None,
) -> ReadyAnswer | None:
    if entry is None or not query.is_plain or query.time_zone not in (None, entry.zone.key):
        return None
    if key.subaccount_id not in (None, entry.timeline.subaccount_id):
        return None  # the long way says that there is no such principal
    found = entry.answer((query.start, query.end), now=now, fresh_for_s=api.settings.fresh_for_s)
    return None if found is None else _conditional(request, *found)


async def get_freebusy(call: Call[FreeBusyQuery, None]) -> Result:
    """Return merged busy time of one principal, or 304 when it is what the caller has."""
    query = call.query
    window = check_window(query.start, query.end, now=call.now)
    await call.read(find_own, call)  # whose it is comes before anything is done about it
    call.api.activity.note(call.path("principal"))
    await call.reach([call.path("principal")], window[1])
    if query.is_plain:
        entry = await call.api.timelines.find(call.path("principal"), window, now=call.now)
        fast = _from_memory(call.request, call.api, call.key, query, call.now, entry)
        if fast is not None:
            return fast

    def unit(session: Session) -> FreeBusy:
        return free_busy(
            session,
            find_own(session, call),
            window,
            now=call.now,
            on_unknown=query.on_unknown,
            on_tentative=query.on_tentative,
            time_zone=query.time_zone,
            fresh_for_s=call.api.settings.fresh_for_s,
        )

    found = await call.read(unit)
    body = orjson.dumps(render_free_busy(found, by_day=query.group_by == "day"))
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


async def post_freebusy(call: Call[NoQuery, FreeBusyRequest]) -> Result:
    """Return merged busy time of several principals; one without an answer fails alone."""
    body = call.body
    window = check_window(body.start, body.end, now=call.now)
    wanted = list(dict.fromkeys(body.principals))
    await call.reach(wanted, window[1])

    def unit(session: Session) -> dict[str, FreeBusy | GatewayError | None]:
        known = find_principals(session, wanted, subaccount_id=call.key.subaccount_id)
        answers: dict[str, FreeBusy | GatewayError | None] = {}
        for principal_id in wanted:
            if principal_id not in known:
                answers[principal_id] = None
                continue
            try:
                answers[principal_id] = free_busy(
                    session,
                    known[principal_id],
                    window,
                    now=call.now,
                    on_unknown=body.on_unknown,
                    on_tentative=body.on_tentative,
                    time_zone=body.time_zone,
                    fresh_for_s=call.api.settings.fresh_for_s,
                )
            except GatewayError as error:
                if error.code != "availability-unknown":
                    raise
                answers[principal_id] = error
        return answers

    found = await call.read(unit)
    return {
        "principals": {
            name: render_free_busy(answer, by_day=body.group_by == "day")
            for name, answer in found.items()
            if isinstance(answer, FreeBusy)
        },
        "errors": {
            name: _fault(answer, body.principals.index(name))
            for name, answer in found.items()
            if not isinstance(answer, FreeBusy)
        },
    }


def _fault(error: GatewayError | None, position: int) -> dict[str, str]:
    code = "not-found" if error is None else error.code
    detail = "There is no such principal." if error is None else error.detail
    return {"pointer": f"/principals/{position}", "code": code, "detail": detail}


# --- rendering ---


def render_free_busy(found: FreeBusy, *, by_day: bool = False) -> dict[str, Any]:
    """Shape one answer; every time carries the offset of the asked zone."""
    zone = ZoneInfo(found.time_zone)
    answer: dict[str, Any] = {
        "start": render_instant(found.start, zone),
        "end": render_instant(found.end, zone),
        "time_zone": found.time_zone,
        "revision": found.revision,
        "complete": found.complete,
        "policy": {"on_unknown": found.on_unknown, "on_tentative": found.on_tentative},
        "busy": _render_busy(found.busy, zone),
        "sources": [render_source(source, zone) for source in found.sources],
    }
    if by_day:
        answer["days"] = list(_days(found, zone))
    return answer


def _render_busy(rows: Iterable[BusyRow], zone: ZoneInfo) -> list[dict[str, str]]:
    return [
        {"start": render_instant(start, zone), "end": render_instant(end, zone), "status": status}
        for start, end, status in rows
    ]


def _days(found: FreeBusy, zone: ZoneInfo) -> Iterable[dict[str, Any]]:
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
        for start, end, status in found.busy[first:]:
            if start >= high:
                break
            rows.append((max(start, low), min(end, high), status))
        yield {
            "date": day.isoformat(),
            "start": render_instant(low, zone),
            "end": render_instant(high, zone),
            "busy": _render_busy(rows, zone),
        }
        day += timedelta(days=1)


def _midnight(day: Any, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
