"""Handlers: free/busy (R22-R26). No title ever passes here."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from gateway.api.freebusy.shapes import FreeBusyQuery, FreeBusyRequest
from gateway.api.http.pieces import (
    PIECE,
    in_pieces,
    join_pieces,
    object_in_pieces,
    stream_pieces,
    whole,
)
from gateway.api.http.routing import AnyCall, Call, Result, json_body
from gateway.api.http.state import ApiState
from gateway.api.process.timelines import KeptTimeline
from gateway.api.wire.etags import has_etag
from gateway.api.wire.freebusy import (
    END,
    close_answer,
    etag_of,
    open_answer,
    render_days,
    render_period,
    render_sources,
)
from gateway.api.wire.ready import ReadyAnswer
from gateway.api.wire.shapes import NoQuery
from gateway.core.availability.policy import Policy
from gateway.core.availability.timeline import FreeBusy
from gateway.core.errors import GatewayError, InvalidInput
from gateway.core.intervals import Interval
from gateway.services import questions
from gateway.services.access.people import find_person
from gateway.services.availability import policy_of
from gateway.store.access.keys import ApiKey
from gateway.store.access.principals import Principal
from gateway.store.engine import chunks

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
    entry: KeptTimeline | None,
) -> tuple[str, bytes] | None:
    """Return the ETag and the JSON of a plain question; None when ``entry`` cannot tell."""
    if entry is None or not asked.is_plain or asked.time_zone not in (None, entry.zone.key):
        return None
    if key.subaccount_id not in (None, entry.principal.subaccount_id):
        return None  # the long way says that there is no such principal
    return entry.answer((asked.start, asked.end), now=now)


async def _from_timeline(
    call: Call[Any, Any], principal_id: str, window: Interval
) -> tuple[KeptTimeline | None, tuple[str, bytes] | None]:
    """Like :func:`_from_memory`, for a plain question that may wait until a timeline is built."""
    entry = await call.api.timelines.find(principal_id, window, now=call.now)
    if entry is not None:
        await entry.prepare(window)
    asked = call.query if call.body is None else call.body
    return entry, _from_memory(call.api, call.key, asked, call.now, entry)


@dataclass(frozen=True, slots=True)
class Computed:
    """One person's answer the long way, with the zone its times are shown in."""

    found: FreeBusy
    zone: ZoneInfo

    @property
    def periods(self) -> int:
        """How many periods it has."""
        return len(self.found.busy)

    def pieces(self, group_by: str | None) -> Iterator[bytes]:
        """Render the JSON in pieces."""
        return free_busy_pieces(self.found, self.zone, by_day=group_by == "day")


@dataclass(frozen=True, slots=True)
class Recalled:
    """One person's answer from memory as JSON, with the number of its periods."""

    json: bytes
    periods: int

    def pieces(self, _group_by: str | None) -> Iterator[bytes]:
        """Return the JSON as it is."""
        yield self.json


def _policy(call: AnyCall, asked: FreeBusyQuery | FreeBusyRequest) -> Policy:
    return policy_of(call.api.settings, asked.on_unknown, asked.on_tentative)


async def get_freebusy(call: Call[FreeBusyQuery, None]) -> Result:
    """Return merged busy time of one principal, or 304 when it is what the caller has."""
    query = call.query
    window = check_window(query.start, query.end, now=call.now)
    await call.read(find_person, call.person)  # whose it is comes before anything is done about it
    call.api.activity.note(call.path("principal"))
    await call.reach([call.path("principal")], window)
    if query.is_plain:
        _, fast = await _from_timeline(call, call.path("principal"), window)
        if fast is not None:
            return _conditional(call.request, *fast)

    principal, found = await call.read(
        questions.ask_person,
        call.person,
        window,
        _policy(call, query),
        by_day=query.group_by == "day",
        now=call.now,
    )
    answer = Computed(found, ZoneInfo(query.time_zone or principal.time_zone))
    etag = etag_of(answer.found, answer.zone, query.group_by)
    return _conditional(call.request, etag, await join_pieces(answer.pieces(query.group_by)))


def _conditional(request: web.Request, etag: str, body: bytes) -> ReadyAnswer:
    known = "If-None-Match" in request.headers and has_etag(request, etag)
    return ReadyAnswer(etag, None if known else body)


Results = dict[str, Computed | Recalled | GatewayError | None]
"""By principal: an answer, why there is none, or None for whom the caller may not see."""


async def post_freebusy(call: Call[NoQuery, FreeBusyRequest]) -> Result:
    """Return merged busy time of several principals; one without an answer fails alone.

    An answer of more than 100,000 periods is refused before it is computed (`answer-too-large`).
    """
    body = call.body
    window = check_window(body.start, body.end, now=call.now)
    wanted = list(dict.fromkeys(body.principals))
    await call.reach(wanted, window)
    known = await call.read(
        questions.people_to_ask,
        wanted,
        window,
        bound=call.bound,
        by_day=body.group_by == "day",
    )
    found: Results = dict.fromkeys(wanted)
    if body.is_plain:
        found |= await _recall_all(call, list(known), window)
    rest = [one for one in known if found[one] is None]
    for some in chunks(rest, PEOPLE_AT_ONCE):  # so that others are read in between
        found |= await _answer_all(call, [known[one] for one in some], window)
    pieces = _answers_in_pieces(found, body)
    if call.is_replayable or sum(map(_size, found.values())) <= PIECE:
        return json_body(await join_pieces(pieces))
    return await stream_pieces(call.request, pieces)


async def _recall_all(
    call: Call[NoQuery, FreeBusyRequest], principal_ids: list[str], window: Interval
) -> Results:
    """Answer for those whose timelines can tell; the caller may ask about all of them."""
    answers: Results = {}
    for number, principal_id in enumerate(principal_ids, 1):
        entry, found = await _from_timeline(call, principal_id, window)
        if entry is not None and found is not None:
            answers[principal_id] = Recalled(found[1], len(entry.timeline.between(window)))
        if number % PEOPLE_AT_ONCE == 0:
            await asyncio.sleep(0)
    return answers


async def _answer_all(
    call: Call[NoQuery, FreeBusyRequest], people: list[Principal], window: Interval
) -> Results:
    policy = _policy(call, call.body)
    found = await call.read(questions.ask_people, people, window, policy, now=call.now)
    zones = {one.id: ZoneInfo(call.body.time_zone or one.time_zone) for one in people}
    return {
        name: answer if isinstance(answer, GatewayError) else Computed(answer, zones[name])
        for name, answer in found.items()
    }


def _answers_in_pieces(found: Results, body: FreeBusyRequest) -> Iterator[bytes]:
    faults = {
        name: _fault(answer, body.principals.index(name))
        for name, answer in found.items()
        if not isinstance(answer, Computed | Recalled)
    }
    people = (
        (name, answer.pieces(body.group_by))
        for name, answer in found.items()
        if isinstance(answer, Computed | Recalled)
    )
    return object_in_pieces([("principals", object_in_pieces(people)), ("errors", whole(faults))])


def _size(answer: Computed | Recalled | GatewayError | None) -> int:
    return answer.periods if isinstance(answer, Computed | Recalled) else 1


def _fault(error: GatewayError | None, position: int) -> dict[str, str]:
    code = "not-found" if error is None else error.code
    detail = "There is no such principal." if error is None else error.detail
    return {"pointer": f"/principals/{position}", "code": code, "detail": detail}


def free_busy_pieces(found: FreeBusy, zone: ZoneInfo, *, by_day: bool = False) -> Iterator[bytes]:
    """Render one answer in pieces, with the offset of ``zone``; ``by_day`` adds its days."""
    window = (found.start, found.end)
    yield open_answer(window, zone, found.revision, found.policy, complete=found.complete)
    yield from in_pieces(render_period(*row, zone) for row in found.busy)
    yield close_answer(render_sources(found.sources, zone))
    if by_day:
        yield b',"days":'
        yield from in_pieces(render_days(found, zone))
    yield END
