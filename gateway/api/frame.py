"""What stands around every handler: request id, errors as problems, the common headers, metrics.

A wrapper and not a middleware: aiohttp puts a layer of its own around middlewares, and each layer
costs a twentieth of a whole free/busy answer.
"""

import random
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import Histogram

from gateway.api import google_errors
from gateway.api.problems import BodyTooLarge, http_problem_response, problem_response, status_of
from gateway.api.ready import ReadyAnswer
from gateway.api.state import RATE_LIMIT, REQUEST_ID, STATE
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
        given = request.headers.get("X-Request-Id")
        if given is None or not _REQUEST_ID.fullmatch(given):
            given = f"{random.getrandbits(64):016x}"
        request[REQUEST_ID] = given
        try:
            response = await endpoint(request)
        except Exception as error:
            response = _problem(request, error, given)
        limit = request.get(RATE_LIMIT)
        if type(response) is ReadyAnswer:
            response.request_id, response.limit = given, limit
        else:
            _add_headers(response, given, limit)
        timer = timers.get(response.status)
        if timer is None:
            timer = metrics().http_requests.labels(route, str(response.status))
            timers[response.status] = timer
        timer.observe(time.perf_counter() - began)
        return response

    return handle


def _add_headers(
    response: web.StreamResponse, request_id: str, limit: tuple[str, str] | None
) -> None:
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


def _problem(request: web.Request, error: Exception, request_id: str) -> web.StreamResponse:
    """Turn an exception into a problem document; the only place that does."""
    base = request.app[STATE].settings.docs_base
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        too_large = BodyTooLarge(f"A body may be {MAX_BODY} bytes long.", pointer="")
        return problem_response(too_large, request_id, base=base)
    if isinstance(error, web.HTTPException):
        return http_problem_response(error, request_id, base=base)
    if status_of(error) >= 500:
        _log.error("request failed", request_id=request_id, exc_info=error)
    problem = problem_response(error, request_id, base=base)
    is_google = request.path.startswith(google_errors.PATHS)
    return google_errors.as_google_error(problem) if is_google else problem
