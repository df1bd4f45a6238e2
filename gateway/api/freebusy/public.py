"""Handlers: the public Freebusy Read URL (CalConnect CC/S 0903:2009) and its tokens (R23, R26).

``GET /freebusy/{token}`` takes ``start``, ``end`` or ``period``, ``format`` and ``user``, none of
them required. What the specification leaves to the server is answered so: a window begins at the
last midnight in UTC and is 42 days long (its recommended ``P42D``); ``end`` and ``period`` together
are refused; text/calendar is the default format; offsets are read without their colon too. Exactly
one VFREEBUSY comes back, without METHOD and ORGANIZER, and an ETag.

A token opens this one address and nothing else. A *coarse* one shows busy time rounded outwards to
half hours in UTC, of one status; the rounding is done before the window cuts, so that no choice of
windows finds an edge.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import orjson
from aiohttp import web

from gateway.api.freebusy import public_shapes as shapes
from gateway.api.freebusy.handlers import check_window
from gateway.api.http.pieces import in_pieces, join_pieces, object_in_pieces, whole
from gateway.api.http.routing import JSON, AnyCall, Call, Result
from gateway.api.wire.etags import has_etag
from gateway.api.wire.freebusy import render_period
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant, render_known
from gateway.core.availability.merge import BusyRow
from gateway.core.availability.vfreebusy import render_vfreebusy
from gateway.core.errors import InvalidInput
from gateway.core.intervals import Interval
from gateway.services.access import tokens
from gateway.services.availability import policy_of
from gateway.services.questions import ask_public, no_address
from gateway.store.booking.schedules import FreeBusyToken, find_token
from gateway.store.objects.horizons import is_beyond

DAY_S = 86_400
CALENDAR = "text/calendar"
T = TypeVar("T")


async def get_public_freebusy(call: Call[shapes.FreeBusyUrlQuery, None]) -> Result:
    """Return a person's busy time to whoever knows the address, or 304 when nothing changed."""
    query = call.query
    window = _window(query, call.now)
    media = query.format or _preferred(call.request.headers.get("Accept", ""))

    secret = call.path("token")
    if is_beyond(window, call.now):
        owner_id = _known(call, await call.read(find_token, secret)).principal_id
        await call.reach([owner_id], window)
    policy = policy_of(call.api.settings)
    answer = await call.read(ask_public, secret, window, policy, user=query.user, now=call.now)
    found = _known(call, answer)
    token, rows, complete = found.token, found.busy, found.complete
    digest = hashlib.blake2b(orjson.dumps((media, window, rows, complete)), digest_size=15)
    headers = {
        "ETag": f'W/"{digest.hexdigest()}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex",
    }
    if has_etag(call.request, headers["ETag"]):
        return web.Response(status=304, headers=headers)
    if media == JSON:
        body = await join_pieces(_json_in_pieces(rows, window, complete=complete))
        return web.Response(body=body, content_type=JSON, headers=headers)
    body = await asyncio.to_thread(
        render_vfreebusy,
        rows,
        window,
        uid=f"{token.id}-{window[0]}-{window[1]}",
        stamp=call.now,
    )
    return web.Response(body=body, content_type=CALENDAR, charset="utf-8", headers=headers)


def _known(call: AnyCall, found: T | None) -> T:
    """Return what an address led to, and count it as a guess when that was nothing."""
    secret = call.path("token")
    if found is None:
        call.api.guesses.wrong(call.request, secret)
        raise no_address()
    call.api.guesses.right(secret)
    return found


def _window(query: shapes.FreeBusyUrlQuery, now: int) -> Interval:
    if query.end is not None and query.period is not None:
        raise InvalidInput(
            "Give an end or a period, not both.", code="period-and-end", pointer="/period"
        )
    start = now - now % DAY_S if query.start is None else query.start
    length = shapes.DEFAULT_PERIOD_S if query.period is None else query.period
    return check_window(start, start + length if query.end is None else query.end, now=now)


def _preferred(accept: str) -> str:
    """Return the media type the Accept header likes better; text/calendar when it is equal."""
    json_q, calendar_q = _quality(accept, JSON), _quality(accept, CALENDAR)
    return JSON if json_q > calendar_q else CALENDAR


def _quality(accept: str, media: str) -> float:
    """Return the weight of a media type; the most specific range decides (RFC 9110 12.5.1)."""
    ranges = {media: 2, media.partition("/")[0] + "/*": 1, "*/*": 0}
    best, quality = -1, 0.0
    for part in accept.lower().split(",")[:20]:
        name, _, parameters = (piece.strip() for piece in part.partition(";"))
        if ranges.get(name, -1) > best:
            best = ranges[name]
            weight = re.search(r"(?:^|;)\s*q=([01](?:\.\d{0,3})?)\s*$", parameters)
            quality = float(weight[1]) if weight else 1.0
    return quality


def _json_in_pieces(rows: list[BusyRow], window: Interval, *, complete: bool) -> Iterator[bytes]:
    busy = (render_period(start, end, status, None) for start, end, status in rows)
    return object_in_pieces(
        [
            ("start", whole(render_instant(window[0]))),
            ("end", whole(render_instant(window[1]))),
            ("complete", whole(complete)),
            ("busy", in_pieces(busy)),
        ]
    )


# --- tokens ---


def _show(found: FreeBusyToken) -> dict[str, Any]:
    return {
        "id": found.id,
        "label": found.label,
        "detail": found.detail,
        "created_at": render_instant(found.created_at),
        "rotated_at": render_known(found.rotated_at),
    }


def _show_secret(call: AnyCall, made: tuple[FreeBusyToken, str]) -> shapes.FreeBusyTokenWithPath:
    """Shape a new address; ``url`` is under ``api_public_url``, else where the caller came in."""
    found, secret = made
    path = f"/freebusy/{secret}"
    base = call.api.settings.api_public_url or str(call.request.url.origin())
    url = base.rstrip("/") + path
    return shapes.FreeBusyTokenWithPath(**_show(found), token=secret, path=path, url=url)


async def list_freebusy_tokens(call: Call[NoQuery, None]) -> Result:
    """List the public free/busy addresses of a person; the addresses themselves are not kept."""
    return {"tokens": [_show(row) for row in await call.read(tokens.list_tokens, call.person)]}


async def create_freebusy_token(call: Call[NoQuery, shapes.NewFreeBusyToken]) -> Result:
    """Create a public free/busy address; it is in this answer and nowhere else."""
    return await call.answer(
        partial(_show_secret, call),
        tokens.create_token,
        call.person,
        now=call.now,
        **call.body.model_dump(),
    )


async def rotate_freebusy_token(call: Call[NoQuery, None]) -> Result:
    """Give a public address a new secret; the old address ends at once."""
    return await call.answer(
        partial(_show_secret, call),
        tokens.rotate_token,
        call.person,
        call.path("freebusy_token"),
        now=call.now,
    )


async def delete_freebusy_token(call: Call[NoQuery, None]) -> Result:
    """Revoke a public address at once."""
    await call.write(tokens.delete_token, call.person, call.path("freebusy_token"))
    return None
