"""The door of the API: connections are bounded, and what is no request of ours is a problem too.

aiohttp answers bytes that are no HTTP, and targets that its router never sees (``*``, CONNECT, a
line break in a path), as plain text, logs them with a traceback, and repeats in both what was sent:
that may hold a public address or a key. It also waits for ever for slow clients, and inflates
compressed bodies on the event loop before anybody has asked who sends them; here no body is ever
inflated, and the frame refuses it.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_request import BaseRequest

from gateway.api.http.guard import Bounds, Guard
from gateway.api.http.middleware import add_common_headers, new_request_id
from gateway.api.http.state import STATE
from gateway.api.wire.problems import (
    BodyTooSlow,
    TooManyConnections,
    http_problem_response,
    problem_response,
)
from gateway.observe import logger

_LINGER_S = 5.0
"""How long the rest of a body is read and dropped when its request was refused."""
_ACCEPT_AT_ONCE, _QUEUE = 8, 1024
_log = logger("api")


class ApiRunner(web.AppRunner):
    """Runs the application without access log, behind our own door."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, access_log=None, handle_signals=False)
        self._guard: Guard | None = None
        self._settings = app[STATE].settings

    @property
    def server(self) -> web.Server | None:
        """What a site makes connections with."""
        made = super().server
        if made is None:
            return None
        if self._guard is None:
            self._guard = Guard(Bounds.of(self._settings), asyncio.get_running_loop())
        return cast(web.Server, _connections(made, self._guard, self._settings.docs_base))

    async def listen(self, host: str, port: int) -> None:
        """Listen at an address; raises ``OSError`` and ``OverflowError`` when that cannot be.

        The event loop accepts as many connections at once as it believes the queue of the kernel to
        be long. A flood of them would take each of its turns for itself, so it is told a short one.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        listener.setblocking(False)
        await web.SockSite(self, listener, backlog=_ACCEPT_AT_ONCE).start()
        listener.listen(_QUEUE)

    async def cleanup(self) -> None:
        """Stop, and look at no connection any more."""
        await super().cleanup()
        if self._guard is not None:
            self._guard.close()


def _connections(
    server: web.Server, guard: Guard, docs_base: str
) -> Callable[[], web.RequestHandler]:
    loop = asyncio.get_running_loop()
    return lambda: _Connection(server, loop, guard, docs_base)


class _Connection(web.RequestHandler):
    """One connection, as the guard wants to see it."""

    __slots__ = (
        "_base",
        "_body",
        "_body_since",
        "_guard",
        "_head_since",
        "_is_fresh",
        "_left",
        "_stuck_since",
        "_wire",
        "peer",
    )

    def __init__(
        self, server: web.Server, loop: asyncio.AbstractEventLoop, guard: Guard, base: str
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=cast(Any, None),
            auto_decompress=False,
            keepalive_timeout=guard.bounds.keepalive_s,
            lingering_time=_LINGER_S,
        )
        self._guard = guard
        self._base = base
        self._body: StreamReader | None = None
        self._head_since = loop.time()
        self._is_fresh = True
        self._body_since = self._stuck_since = 0.0
        self._left = 0
        self._wire: asyncio.Transport | None = None
        self.peer = ""

    # --- what aiohttp tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the guard's lists, or be refused before anything is set up for a request."""
        self._wire = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        if self._guard.enter(self):
            super().connection_made(transport)
        else:
            self._end_with(TooManyConnections("Too many connections are open; close some."))
            self._wire.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave them."""
        self._guard.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note what is awaited after these bytes: the rest of a head, of a body, or nothing."""
        before = self._request_count
        self._is_fresh = False
        super().data_received(data)
        if self._request_count != before:
            self._head_since = 0.0
            self._guard.touch(self)
            payload = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
            if payload is not EMPTY_PAYLOAD and not payload.is_eof():
                self._body, self._body_since = payload, self._loop.time()
        elif data and not self._head_since and (self._body is None or self._body.is_eof()):
            self._head_since = self._loop.time()

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        super().pause_writing()
        self._stuck_since = self._loop.time()

    def resume_writing(self) -> None:
        """Note that it goes on."""
        super().resume_writing()
        self._stuck_since = 0.0

    # --- what the guard asks ---

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request of which nothing is here yet."""
        if self._force_close or self._close:
            return False
        return self._is_fresh or (self._waits and not self._head_since)

    @property
    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def drop(self) -> None:
        """Close at once; nothing was under way."""
        self.force_close()

    def look(self, now: float, bounds: Bounds) -> None:
        """Close what took too long."""
        body = self._body
        if self._stuck_since:
            self._look_at_answer(now, bounds)
        elif body is not None and not body.is_eof():
            if now - self._body_since > bounds.body_s and body.exception() is None:
                body.set_exception(BodyTooSlow("The body did not arrive in time."))
        elif self._head_since and now - self._head_since > bounds.header_s and self._waits:
            if self._is_fresh:
                self.drop()
            else:
                self._end_with(BodyTooSlow("The head of the request did not arrive in time."))

    def _look_at_answer(self, now: float, bounds: Bounds) -> None:
        if self._wire is None:
            return
        left = self._wire.get_write_buffer_size()
        if left < self._left:
            self._stuck_since = now
        elif now - self._stuck_since > bounds.answer_s:
            self._wire.abort()
        self._left = left

    def _end_with(self, error: Exception) -> None:
        """Write a problem outside any request, and close."""
        request_id = new_request_id()
        problem = problem_response(error, request_id, base=self._base)
        _log.info("no request", request_id=request_id, status=problem.status)
        body = problem.body if isinstance(problem.body, bytes) else b""
        head = (
            f"HTTP/1.1 {problem.status} {problem.reason}\r\n"
            f"Content-Type: {problem.content_type}\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-Id: {request_id}\r\nConnection: close\r\n"
        )
        if "Retry-After" in problem.headers:
            head += f"Retry-After: {problem.headers['Retry-After']}\r\n"
        if self._wire is not None:
            self._wire.write(f"{head}\r\n".encode() + body)
        self.force_close()

    # --- what never became a request of ours ---

    def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; what aiohttp itself refused before our frame becomes a problem."""
        if isinstance(resp, web.HTTPException):
            resp = self._problem(resp)
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        kind: Any = web.HTTPBadRequest if status == 400 else web.HTTPInternalServerError
        response = self._problem(web.HTTPRequestURITooLong() if _is_long(exc) else kind(), exc)
        response.force_close()
        return response

    def _problem(
        self, error: web.HTTPException, cause: BaseException | None = None
    ) -> web.Response:
        request_id = new_request_id()
        response = http_problem_response(error, request_id, base=self._base)
        add_common_headers(response, request_id, None)
        name = None if cause is None else type(cause).__name__
        _log.info("no request", request_id=request_id, status=response.status, error=name)
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong outside the frame: a broken body or a client that left is nothing."""
        error = kw.get("exc_info")
        if isinstance(error, ConnectionError | web.RequestPayloadError | BodyTooSlow):
            return
        with suppress(Exception):
            _log.error("connection failed", exc_info=error)


def _is_long(error: BaseException | None) -> bool:
    return isinstance(error, LineTooLong)
