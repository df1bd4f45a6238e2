"""The door of the API: what is no HTTP request gets a problem too, and leaves no trace of itself.

aiohttp answers such bytes as plain text that repeats them, and logs them with a traceback; they may
hold a public address or a key.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_request import BaseRequest

from gateway.api.problems import http_problem_response
from gateway.observe import logger

_log = logger("api")


class ApiRunner(web.AppRunner):
    """Runs the application without access log, behind our own door."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, access_log=None, handle_signals=False)

    @property
    def server(self) -> web.Server | None:
        """What a site makes connections with."""
        made = super().server
        return None if made is None else cast(web.Server, _connections(made))


def _connections(server: web.Server) -> Callable[[], web.RequestHandler]:
    loop = asyncio.get_running_loop()
    return lambda: _Connection(server, loop=loop, access_log=cast(Any, None))


class _Connection(web.RequestHandler):
    """One connection; only :meth:`handle_error` differs from aiohttp's."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request; the connection ends with it."""
        _log.info("no request", status=status, error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        kind: Any = web.HTTPBadRequest if status == 400 else web.HTTPInternalServerError
        error = web.HTTPRequestURITooLong() if isinstance(exc, LineTooLong) else kind()
        response = http_problem_response(error, "none")
        response.force_close()
        return response
