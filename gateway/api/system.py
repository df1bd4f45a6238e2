"""Handlers: is the process alive, is it ready, what has it counted, what can it do."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.api.docs_page import DOCS_POLICY, render_docs
from gateway.api.openapi import DOCUMENT
from gateway.api.routing import Call, Result, json_answer
from gateway.api.schemas import NoQuery
from gateway.observe import metrics
from gateway.store.schema import find_schema_problem

Plain = Call[NoQuery, None]


async def get_health(call: Plain) -> Result:
    """Say that the process answers; nothing else is looked at."""
    del call
    return {"status": "ok"}


async def get_readiness(call: Plain) -> Result:
    """Say whether requests can be answered: the database is there, with the right schema."""
    database = call.api.threads.database
    problem = await asyncio.to_thread(find_schema_problem, database)
    if problem is not None:
        return json_answer({"status": problem.code, "detail": problem.detail}, status=503)
    return {"status": "ready"}


async def get_metrics(call: Plain) -> Result:
    """Return the metrics of this process in the Prometheus text format."""
    del call
    body = generate_latest(metrics().registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def get_openapi(call: Plain) -> Result:
    """Return the OpenAPI document of this API."""
    return web.Response(body=call.request.app[DOCUMENT], content_type="application/json")


async def get_docs(call: Plain) -> Result:
    """Return the same as a page for people."""
    page = render_docs(call.request.app[DOCUMENT])
    return web.Response(
        text=page, content_type="text/html", headers={"Content-Security-Policy": DOCS_POLICY}
    )
