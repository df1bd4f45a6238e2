"""The HTTP application: routes and the parts they share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import cache, partial
from importlib.metadata import version

from aiohttp import web

from gateway.api.description.openapi import build_document, dump_document
from gateway.api.description.pages import PAGES, Pages
from gateway.api.http.middleware import MAX_BODY
from gateway.api.http.routing import mount, mount_rest
from gateway.api.http.state import STATE, ApiState
from gateway.api.operations.sweeps import run_sweeps
from gateway.api.process.activity import Activity
from gateway.api.process.beyond_window import BeyondWindow
from gateway.api.process.guesses import Guesses
from gateway.api.process.limits import Limits, share
from gateway.api.process.once_per_turn import OncePerTurn
from gateway.api.process.ports import SyncService
from gateway.api.process.readiness import Readiness
from gateway.api.process.timelines import TimelineCache
from gateway.api.routes.table import ROUTES
from gateway.isolation import kept_alive
from gateway.services.availability import policy_of
from gateway.settings import Settings
from gateway.store.access.failure_counter import FailureCounter
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import find_schema_problem
from gateway.store.signals import open_signals
from gateway.store.threads import StoreThreads


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
    app = web.Application(client_max_size=MAX_BODY)
    threads = StoreThreads(database)
    signals = open_signals(database, listen_url=settings.listen_database_url)
    app[STATE] = ApiState(
        settings,
        threads,
        keyring,
        sync,
        clock,
        signals,
        OncePerTurn(signals.refresh),
        TimelineCache(
            signals,
            threads,
            policy=policy_of(settings),
            capacity=settings.timeline_cache_bytes,
        ),
        Activity(settings, threads, clock),
        Limits(settings.requests_per_minute),
        Limits(settings.public_requests_per_minute),
        BeyondWindow(sync, threads),
        Guesses(FailureCounter(database, clock), frozenset(settings.trusted_proxies)),
        Readiness(lambda: find_schema_problem(database)),
    )
    app[PAGES] = Pages(_document())
    app.cleanup_ctx.append(_background)
    mount(app, ROUTES)
    mount_rest(app)
    return app


@cache
def _document() -> bytes:
    """Render the OpenAPI document, once per process."""
    return dump_document(build_document(ROUTES, version=version("icloud-caldav-gateway")))


async def _background(app: web.Application) -> AsyncIterator[None]:
    state = app[STATE]
    tasks = [
        asyncio.create_task(kept_alive("activity", state.activity.run), name="activity"),
        asyncio.create_task(
            kept_alive("sweeps", partial(run_sweeps, state.threads, state.clock)), name="sweeps"
        ),
        *(
            asyncio.create_task(
                kept_alive(name, partial(share, limits, state.threads, state.clock)), name=name
            )
            for name, limits in (("limits", state.limits), ("public limits", state.public_limits))
        ),
    ]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, state.beyond_window.close(), return_exceptions=True)
    await asyncio.to_thread(state.guesses.close)
    state.signals.close()
    state.threads.close()
