"""The control API: everything a test or a person does to the look-alike besides CalDAV.

``POST /_control/ACTION`` with a JSON object of arguments, or ``GET /_control/ACTION?…`` for
actions that need only texts. Answers are JSON; a refused action is 400 ``{"error": …}``, an
unknown account, calendar or object 404. Requests from web pages (an Origin header) are refused.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gateway.lookalike.world.accounts import Account, Calendar
from gateway.lookalike.world.world import World

CONTROL_PREFIX = "/_control/"
Arguments = dict[str, Any]
Action = Callable[[World, Arguments], Any]
ACTIONS: dict[str, Action] = {}


def action(name: str) -> Callable[[Action], Action]:
    """Register a function as a control action; its docstring is what the manual says."""

    def register(function: Action) -> Action:
        ACTIONS[name] = function
        return function

    return register


async def answer_control(world: World, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Run one action and answer in JSON."""
    name = request.path.removeprefix(CONTROL_PREFIX).strip("/")
    run = ACTIONS.get(name)
    if "Origin" in request.headers:
        return web.json_response({"error": "not for web pages"}, status=403)
    if run is None:
        return web.json_response(
            {"error": "no such action", "actions": sorted(ACTIONS)}, status=404
        )
    try:
        arguments: Arguments = dict(request.query)
        arguments.update(json.loads(body) if body.strip() else {})
        return web.json_response(run(world, arguments))
    except KeyError as error:
        return web.json_response({"error": f"missing or unknown: {error}"}, status=404)
    except (ValueError, TypeError, LookupError) as error:
        return web.json_response({"error": str(error)}, status=400)


def decode_body(arguments: Arguments) -> bytes:
    """Return the bytes of ``data`` (text) or ``base64``; raises KeyError without both."""
    if "base64" in arguments:
        return base64.b64decode(arguments["base64"])
    return str(arguments["data"]).encode()


def account_of(world: World, arguments: Arguments) -> Account:
    """Return the account an action is about; raises KeyError."""
    return world.account(str(arguments["account"]))


def calendar_of(world: World, arguments: Arguments) -> Calendar:
    """Return the calendar an action is about, by id or display name; raises KeyError."""
    return account_of(world, arguments).calendar(str(arguments["calendar"]))
