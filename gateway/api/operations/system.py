"""Handlers: is the process alive, is it ready, what can it do."""

from gateway.api.description.pages import PAGES
from gateway.api.http.routing import Call, Result, json_answer
from gateway.api.wire.shapes import NoQuery

Plain = Call[NoQuery, None]


async def get_health(call: Plain) -> Result:
    """Say that the process answers; nothing else is looked at."""
    del call
    return {"status": "ok"}


async def get_readiness(call: Plain) -> Result:
    """Say whether requests can be answered: the database is there, with the right schema.

    It is looked at once a second at most.
    """
    problem = await call.api.readiness()
    if problem is not None:
        return json_answer({"status": problem.code, "detail": problem.detail}, status=503)
    return {"status": "ready"}


async def get_openapi(call: Plain) -> Result:
    """Return the OpenAPI document of this API; it has an ETag."""
    return call.request.app[PAGES].document.answer(call.request)


async def get_docs(call: Plain) -> Result:
    """Return the same as a page for people."""
    return (await call.request.app[PAGES].docs()).answer(call.request)
