"""The HTTP application: middlewares, routes and the parts they share."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from importlib.metadata import version

from aiohttp import web
from prometheus_client import Histogram

from gateway.api import google
from gateway.api.activity import Activity
from gateway.api.openapi import DOCUMENT, build_document, dump_document
from gateway.api.ports import SyncService
from gateway.api.problems import BodyTooLarge, http_problem_response, problem_response, status_of
from gateway.api.ready import ReadyAnswer
from gateway.api.routes import ROUTES
from gateway.api.routing import mount
from gateway.api.state import REQUEST_ID, STATE, ApiState
from gateway.api.sweeps import run_sweeps
from gateway.api.timelines import TimelineCache
from gateway.observe import logger, metrics
from gateway.settings import Settings
from gateway.store.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.live import open_live
from gateway.store.threads import StoreThreads

MAX_BODY = 256 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_log = logger("api")

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_api(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    *,
    sync: SyncService,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """Build the application; ``clock`` returns UTC epoch seconds.

    The caller owns ``database`` and ``sync``; the threads around the database live as long as
    the application runs.
    """
    app = web.Application(middlewares=[_frame], client_max_size=MAX_BODY)
    threads = StoreThreads(database)
    live = open_live(database)
    app[STATE] = ApiState(
        settings,
        threads,
        keyring,
        sync,
        clock,
        live,
        TimelineCache(live, threads, capacity=settings.timeline_cache_bytes),
        Activity(settings, threads, clock),
    )
    app[DOCUMENT] = _document()
    app.cleanup_ctx.append(_background)
    mount(app, ROUTES)
    return app


@cache
def _document() -> bytes:
    """Render the OpenAPI document, once per process."""
    return dump_document(build_document(ROUTES, version=version("icloud-caldav-gateway")))


async def _background(app: web.Application) -> AsyncIterator[None]:
    state = app[STATE]
    tasks = [
        asyncio.create_task(state.activity.run(), name="activity"),
        asyncio.create_task(run_sweeps(state.threads, state.clock), name="sweeps"),
    ]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    state.live.close()
    state.threads.close()


@web.middleware
async def _frame(request: web.Request, handler: Endpoint) -> web.StreamResponse:
    """Give the request an id, answer every error as a problem, count and time it.

    One middleware and not three: each costs a twentieth of a whole free/busy answer.
    """
    began = time.perf_counter()
    given = request.headers.get("X-Request-Id")
    if given is None or not _REQUEST_ID.fullmatch(given):
        given = f"{random.getrandbits(64):016x}"
    request[REQUEST_ID] = given
    try:
        response = await handler(request)
    except Exception as error:
        response = _problem(request, error, given)
    if type(response) is ReadyAnswer:
        response.request_id = given
    else:
        headers = response.headers
        headers["X-Request-Id"] = given
        headers["X-Content-Type-Options"] = "nosniff"
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "no-store"
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    _timer(route, response.status).observe(time.perf_counter() - began)
    return response


@cache
def _timer(route: str, status: int) -> Histogram:
    """Return the histogram of a route and status; finding it by labels costs three times more."""
    return metrics().http_requests.labels(route, str(status))


def _problem(request: web.Request, error: Exception, request_id: str) -> web.StreamResponse:
    """Turn an exception into a problem document; the only place that does."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        too_large = BodyTooLarge(f"A body may be {MAX_BODY} bytes long.", pointer="")
        return problem_response(too_large, request_id)
    if isinstance(error, web.HTTPException):
        return http_problem_response(error, request_id)
    if status_of(error) >= 500:
        _log.error("request failed", request_id=request_id, exc_info=error)
    problem = problem_response(error, request_id)
    is_google = request.path.startswith(google.PATHS)
    return google.as_google_error(problem) if is_google else problem
