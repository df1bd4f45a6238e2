"""Answers whose head is written as bytes: what free/busy sends thousands of times a second.

The same headers as any other answer in the same words, without a dictionary of them that is filled,
looked through and serialised again: that alone costs a third of a bare aiohttp answer.
"""

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.web_request import BaseRequest

_COMMON = (
    "Cache-Control: private, no-cache\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    f"Server: {SERVER_SOFTWARE}\r\n"
)
_OK = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{_COMMON}"
_NOT_MODIFIED = f"HTTP/1.1 304 Not Modified\r\n{_COMMON}"


class ReadyAnswer(web.StreamResponse):
    """JSON with a weak ETag, or 304 when ``body`` is None; sent in one write.

    The frame sets ``request_id`` and ``limit``. Neither ``headers`` nor the signal
    ``on_response_prepare`` has any say here. ``etag`` and ``request_id`` must not come from the
    client unchecked.
    """

    request_id = ""
    limit: tuple[str, str] | None = None
    _writer: AbstractStreamWriter | None = None
    _persistent = True
    _connection = ""

    def __init__(self, tag: str, body: bytes | None) -> None:
        super().__init__(status=304 if body is None else 200)
        self._tag = tag
        self._content = body

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        return self._persistent

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Remember where to write to; everything is written at the end."""
        self._writer = request.writer
        self._persistent = request.keep_alive
        if request.version != HttpVersion11:
            self._connection = "Connection: keep-alive\r\n" if self._persistent else ""
        elif not self._persistent:
            self._connection = "Connection: close\r\n"
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send head and body."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        body = self._content
        start = _NOT_MODIFIED if body is None else f"{_OK}Content-Length: {len(body)}\r\n"
        if self.limit is not None:
            start += f"RateLimit-Policy: {self.limit[0]}\r\nRateLimit: {self.limit[1]}\r\n"
        head = (
            f"{start}{self._connection}ETag: {self._tag}\r\n"
            f"X-Request-Id: {self.request_id}\r\nDate: {_date(int(time.time()))}\r\n\r\n"
        ).encode()
        await writer.write_eof(head if body is None else head + body)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
