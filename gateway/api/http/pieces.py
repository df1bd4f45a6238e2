"""Large answers in pieces, rendered between other requests.

A piece is some hundred periods, a millisecond of the event loop; after each one everybody else has
a turn. The bytes are those of the same answer rendered at once.
"""

import asyncio
from collections.abc import Iterable, Iterator

import orjson
from aiohttp import web

from gateway.api.http.middleware import add_common_headers
from gateway.api.http.state import RATE_LIMIT, REQUEST_ID

PIECE = 200
PIECE_BYTES = 16 * 1024
"""Some 200 periods: about a millisecond of rendering."""
_FLUSH = 64 * 1024


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
