"""What stands around every handler: request id, errors as problems, the common headers, metrics.

A wrapper and not a middleware: aiohttp puts a layer of its own around middlewares, and each layer
costs a twentieth of a whole free/busy answer.
"""

import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import HttpVersion11, web
from prometheus_client import Histogram

from gateway.api.http.state import RATE_LIMIT, REQUEST_ID, STATE
from gateway.api.wire import google_errors
from gateway.api.wire.problems import (
    BodyEncoded,
    BodyTooLarge,
    http_problem_response,
    problem_response,
)
from gateway.api.wire.ready import ReadyAnswer
from gateway.core.errors import GatewayError, StoreError
from gateway.observe import logger, metrics

MAX_BODY = 256 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_log = logger("api")

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def framed(route: str, endpoint: Endpoint) -> Endpoint:
    """Give each request an id, answer every error as a problem, count and time under ``route``."""
    timers: dict[int, Histogram] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        headers = request.headers
        given = headers.get("X-Request-Id")
        if given is None or not _REQUEST_ID.fullmatch(given):
            given = new_request_id()
        request[REQUEST_ID] = given
        try:
            if "X-Forwarded-For" in headers:
                request.app[STATE].guesses.note_forwarded(request)
            if "Content-Encoding" in headers or "Expect" in headers:
                _check_head(request)
            response = await endpoint(request)
            if response.status >= 400:
                _log.info("request refused", request_id=given, status=response.status, route=route)
        except Exception as error:
            response = _problem(request, error, given, route)
        limit = request.get(RATE_LIMIT)
        if type(response) is ReadyAnswer:
            response.request_id, response.limit = given, limit
        else:
            add_common_headers(response, given, limit)
        timer = timers.get(response.status)
        if timer is None:
            timer = metrics().http_requests.labels(route, str(response.status))
            timers[response.status] = timer
        timer.observe(time.perf_counter() - began)
        return response

    return handle


def new_request_id() -> str:
    """Make an id for a request that brought none."""
    return f"{random.getrandbits(64):016x}"


def _check_head(request: web.Request) -> None:
    """Refuse what a head asks for in vain; the bodies of such requests are never looked at."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise BodyEncoded("Send the body as it is, without Content-Encoding.")
    if request.headers.get("Expect", "100-continue").lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def expect_later(request: web.Request) -> None:
    """Leave ``Expect`` to the frame: aiohttp would invite a body before anybody looked at the head.

    :func:`read_body` sends ``100 Continue`` when the body is wanted (RFC 9110 10.1.1).
    """


async def read_body(request: web.Request) -> bytes:
    """Return the body, asked for if the client waits for that."""
    if "Expect" in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer itself is sent yet
    return await request.read()


def add_common_headers(
    response: web.StreamResponse, request_id: str, limit: tuple[str, str] | None
) -> None:
    """Set what every answer has."""
    headers = response.headers
    headers["X-Request-Id"] = request_id
    if limit is not None:
        headers["RateLimit-Policy"], headers["RateLimit"] = limit
    headers["X-Content-Type-Options"] = "nosniff"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"


async def answer_unmatched(request: web.Request) -> web.StreamResponse:
    """Say 404, or 405 with the methods that the address does know."""
    allowed: set[str] = set()
    own = request.match_info.route.resource
    for resource in request.app.router.resources():
        if resource is not own:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


def _problem(
    request: web.Request, error: Exception, request_id: str, route: str
) -> web.StreamResponse:
    """Turn an exception into a problem document, and log it; the only place that does."""
    base = request.app[STATE].settings.docs_base
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        error = BodyTooLarge(f"A body may be {MAX_BODY} bytes long.", pointer="")
    elif isinstance(error, web.RequestPayloadError):
        error = web.HTTPBadRequest()
    elif isinstance(error, ConnectionError) and not _is_connected(request):
        error = web.HTTPBadRequest()  # nobody reads it: the client hung up
    if isinstance(error, web.HTTPException):
        problem = http_problem_response(error, request_id, base=base)
    else:
        problem = problem_response(error, request_id, base=base)
    _tell(error, problem.status, request_id, route)
    is_google = request.path.startswith(google_errors.PATHS)
    return google_errors.as_google_error(problem) if is_google else problem


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _tell(error: Exception, status: int, request_id: str, route: str) -> None:
    """Log every refusal under its request id; a traceback is for what nobody expected."""
    known = {"request_id": request_id, "status": status, "route": route}
    if isinstance(error, StoreError) and error.cause:  # the driver's words say it all
        _log.error("request failed", **known, code=error.code, cause=error.cause)
        return
    if not isinstance(error, GatewayError | web.HTTPException) or status == 500:
        _log.error("request failed", **known, exc_info=error)
        return
    code = error.code if isinstance(error, GatewayError) else None
    if status < 500:
        _log.info("request refused", **known, code=code)
        return
    causes = [type(one).__name__ for one in _causes(error)]
    _log.warning("request failed", **known, code=code, causes=causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what led to it, as a traceback would."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
