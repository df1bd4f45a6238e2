"""Large answers in pieces: bounded before they are computed, rendered between other requests.

A piece is some hundred periods, a millisecond of the event loop; after each one everybody else has
a turn. The bytes are those of the same answer rendered at once.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import orjson
from aiohttp import web

from gateway.api.http.frame import add_common_headers
from gateway.api.http.state import RATE_LIMIT, REQUEST_ID
from gateway.core.errors import InvalidInput
from gateway.core.intervals import Interval
from gateway.store.engine import Session
from gateway.store.objects.instances import count_blocking

MAX_PERIODS = 100_000
"""So many periods one answer may hold, days counted too: some ten megabytes."""
PIECE = 200
PIECE_BYTES = 16 * 1024
"""Some 200 periods: about a millisecond of rendering."""
_FLUSH = 64 * 1024
DAY_S = 86_400


def check_size(
    session: Session,
    principal_ids: Sequence[str],
    window: Interval,
    *,
    by_day: bool = False,
    pointer: str,
) -> None:
    """Raise :class:`InvalidInput` when an answer may hold more than :data:`MAX_PERIODS`.

    Counted is what lies in the window, before it is merged. ``by_day`` says each period again and
    each day of each person.
    """
    days = len(principal_ids) * -(-(window[1] - window[0]) // DAY_S) if by_day else 0
    most = max(0, MAX_PERIODS - days) // (2 if by_day else 1)
    if days > MAX_PERIODS or count_blocking(session, principal_ids, window, most=most + 1) > most:
        raise InvalidInput(
            f"The answer could hold more than {MAX_PERIODS:,} periods; ask about fewer people or"
            " fewer days at a time.",
            code="answer-too-large",
            pointer=pointer,
        )


def in_pieces(items: Iterable[bytes]) -> Iterator[bytes]:
    """Return a JSON list of rendered items, :data:`PIECE_BYTES` of them at a time."""
    text, size, separator = [b"["], 0, b""
    for item in items:
        text.append(separator + item)
        separator = b","
        size += len(item)
        if size >= PIECE_BYTES:
            yield b"".join(text)
            text, size = [], 0
    yield b"".join([*text, b"]"])


def object_in_pieces(members: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """Render a JSON object whose members come in pieces."""
    separator = b"{"
    for name, pieces in members:
        yield separator + orjson.dumps(name) + b":"
        yield from pieces
        separator = b","
    yield b"{}" if separator == b"{" else b"}"


def whole(value: object) -> Iterator[bytes]:
    """Render something small as one piece."""
    yield orjson.dumps(value)


async def join_pieces(pieces: Iterable[bytes]) -> bytes:
    """Return all pieces as one; others have their turn after each that took work."""
    parts, since = [], 0
    for piece in pieces:
        parts.append(piece)
        since += len(piece)
        if since >= PIECE_BYTES // 2:
            since = 0
            await asyncio.sleep(0)
    return b"".join(parts)


async def stream_pieces(request: web.Request, pieces: Iterable[bytes]) -> web.StreamResponse:
    """Send pieces as they are rendered; the client's pace is the pace."""
    response = web.StreamResponse()
    response.content_type = "application/json"
    add_common_headers(response, request[REQUEST_ID], request.get(RATE_LIMIT))
    await response.prepare(request)
    waiting, since, size = [], 0, 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        since += len(piece)
        if size >= _FLUSH:
            await response.write(b"".join(waiting))
            waiting, size = [], 0
        if since >= PIECE_BYTES // 2:
            since = 0
            await asyncio.sleep(0)
    await response.write_eof(b"".join(waiting))
    return response
