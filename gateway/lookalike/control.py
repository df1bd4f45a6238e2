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

from gateway.lookalike.accounts import Account, Calendar, Kind, Mode
from gateway.lookalike.quirks import QUIRKS
from gateway.lookalike.world import World

CONTROL_PREFIX = "/_control/"
Arguments = dict[str, Any]
Action = Callable[[World, Arguments], Any]
ACTIONS: dict[str, Action] = {}


def action(name: str) -> Callable[[Action], Action]:
    """Register a function as a control action."""

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


# -- accounts and credentials ------------------------------------------------------------------


def describe_account(account: Account) -> dict[str, Any]:
    """Return an account as plain values, its app-specific passwords included."""
    return {
        "email": account.email,
        "name": account.name,
        "dsid": account.dsid,
        "partition": account.partition,
        "app_passwords": sorted(account.app_passwords),
        "aliases": sorted(account.aliases),
        "calendars": [describe_calendar(one) for one in account.calendars.values()],
    }


def describe_calendar(calendar: Calendar) -> dict[str, Any]:
    """Return a calendar as plain values."""
    return {
        "id": calendar.id,
        "name": calendar.name,
        "kind": calendar.kind.value,
        "mode": calendar.mode,
        "shared_out": calendar.shared_out,
        "source": calendar.source,
        "color": calendar.color,
        "objects": len(calendar.resources),
        "ctag": calendar.contents.ctag,
    }


@action("accounts")
def _accounts(world: World, arguments: Arguments) -> Any:
    return [describe_account(account) for account in world.accounts.values()]


@action("add-account")
def _add_account(world: World, arguments: Arguments) -> Any:
    account = world.add_account(
        str(arguments["email"]),
        name=str(arguments.get("name", "Taylor Example")),
        dsid=arguments.get("dsid"),
    )
    password = account.issue_app_password()
    return {**describe_account(account), "app_password": password}


@action("issue-password")
def _issue(world: World, arguments: Arguments) -> Any:
    return {"app_password": account_of(world, arguments).issue_app_password()}


@action("revoke")
def _revoke(world: World, arguments: Arguments) -> Any:
    account = account_of(world, arguments)
    account.revoke(str(arguments.get("password", "all")))
    return {"app_passwords": sorted(account.app_passwords)}


@action("move-partition")
def _move_partition(world: World, arguments: Arguments) -> Any:
    account = account_of(world, arguments)
    account.move_partition(arguments.get("to"), refuse=str(arguments.get("refuse", "401")))
    return {"partition": account.partition, "url": world.partitions[account.partition]}


# -- calendars ---------------------------------------------------------------------------------


@action("create-calendar")
def _create_calendar(world: World, arguments: Arguments) -> Any:
    kind = Kind(str(arguments.get("kind", "calendar")))
    account = account_of(world, arguments)
    calendar = account.add_calendar(
        str(arguments["name"]), calendar_id=arguments.get("id"), kind=kind
    )
    calendar.source = arguments.get("source")
    return describe_calendar(calendar)


@action("drop-calendar")
def _drop_calendar(world: World, arguments: Arguments) -> Any:
    account_of(world, arguments).drop_calendar(str(arguments["calendar"]))
    return {}


@action("rename-calendar")
def _rename_calendar(world: World, arguments: Arguments) -> Any:
    calendar = calendar_of(world, arguments)
    calendar.name = str(arguments.get("name", calendar.name))
    calendar.color = str(arguments.get("color", calendar.color))
    return describe_calendar(calendar)


@action("share")
def _share(world: World, arguments: Arguments) -> Any:
    mode: Mode = "read" if arguments.get("mode") == "read" else "write"
    shared = world.share(
        str(arguments["account"]), str(arguments["calendar"]), str(arguments["sharee"]), mode
    )
    return describe_calendar(shared)


@action("unshare")
def _unshare(world: World, arguments: Arguments) -> Any:
    world.unshare(str(arguments["account"]), str(arguments["calendar"]), str(arguments["sharee"]))
    return {}


@action("set-mode")
def _set_mode(world: World, arguments: Arguments) -> Any:
    calendar = calendar_of(world, arguments)
    mode = str(arguments["mode"])
    if mode not in ("read", "write") or calendar.mode == "owner":
        raise ValueError("only a shared-in calendar can be made `read` or `write`")
    calendar.mode = "read" if mode == "read" else "write"
    return describe_calendar(calendar)


@action("drop-tokens")
def _drop_tokens(world: World, arguments: Arguments) -> Any:
    if "calendar" in arguments:
        calendar_of(world, arguments).contents.drop_tokens()
    else:
        for calendar in account_of(world, arguments).calendars.values():
            calendar.contents.drop_tokens()
    return {}


# -- objects -----------------------------------------------------------------------------------


@action("objects")
def _objects(world: World, arguments: Arguments) -> Any:
    return [
        {"name": one.name, "uid": one.uid, "etag": one.etag, "size": len(one.data)}
        for one in calendar_of(world, arguments).resources.values()
    ]


@action("get")
def _get(world: World, arguments: Arguments) -> Any:
    resource = calendar_of(world, arguments).resources[str(arguments["name"])]
    return {
        "name": resource.name,
        "uid": resource.uid,
        "etag": resource.etag,
        "base64": base64.b64encode(resource.data).decode(),
        "data": resource.data.decode("utf-8", "replace"),
    }


@action("put")
def _put(world: World, arguments: Arguments) -> Any:
    account = account_of(world, arguments)
    data = decode_body(arguments)
    return {"name": account.put(str(arguments["calendar"]), data, arguments.get("name"))}


@action("delete")
def _delete(world: World, arguments: Arguments) -> Any:
    account_of(world, arguments).delete(str(arguments["calendar"]), str(arguments["name"]))
    return {}


@action("move")
def _move(world: World, arguments: Arguments) -> Any:
    name = account_of(world, arguments).move(
        str(arguments["calendar"]), str(arguments["name"]), str(arguments["to"])
    )
    return {"name": name}


@action("drift")
def _drift(world: World, arguments: Arguments) -> Any:
    calendar = calendar_of(world, arguments)
    return {"etag": calendar.contents.touch(str(arguments["name"]), world.now()).etag}


@action("hold-uid")
def _hold_uid(world: World, arguments: Arguments) -> Any:
    account = account_of(world, arguments)
    world.ledger(account.email).hidden.add(str(arguments["uid"]))
    return {}


# -- switches, log, clock ----------------------------------------------------------------------


@action("quirks")
def _quirks(world: World, arguments: Arguments) -> Any:
    keys = ("row", "name", "kind", "text", "trigger")
    return [
        {key: getattr(quirk, key) for key in keys} | {"params": dict(quirk.params)}
        for quirk in QUIRKS
    ]


@action("set-fault")
def _set_fault(world: World, arguments: Arguments) -> Any:
    arguments = {**arguments}
    return {"id": world.faults.set(str(arguments.pop("quirk")), **arguments)}


@action("clear-faults")
def _clear_faults(world: World, arguments: Arguments) -> Any:
    number = arguments.get("id")
    gone = world.faults.clear(
        arguments.get("quirk"),
        account=arguments.get("account"),
        id=None if number is None else int(number),
    )
    return {"cleared": gone}


@action("faults")
def _faults(world: World, arguments: Arguments) -> Any:
    return [switch.as_json() for switch in world.faults.active()]


@action("stop")
def _stop(world: World, arguments: Arguments) -> Any:
    seconds = arguments.get("seconds")
    return {"id": world.faults.set("down", seconds=None if seconds is None else float(seconds))}


@action("start")
def _start(world: World, arguments: Arguments) -> Any:
    return {"cleared": world.faults.clear("down")}


@action("log")
def _log(world: World, arguments: Arguments) -> Any:
    entries = world.journal.select(
        account=arguments.get("account"),
        since=int(arguments.get("since", 0)),
        method=arguments.get("method"),
        calendar=arguments.get("calendar"),
    )
    return [entry.as_json() for entry in entries]


@action("clear-log")
def _clear_log(world: World, arguments: Arguments) -> Any:
    world.journal.clear()
    return {"last_seq": world.journal.last_seq}


@action("mails")
def _mails(world: World, arguments: Arguments) -> Any:
    mails = world.select_mails(arguments.get("account"))
    return {"count": len(mails), "mails": [mail.as_json() for mail in mails]}


@action("notifications")
def _notifications(world: World, arguments: Arguments) -> Any:
    notes = world.select_notifications(arguments.get("account"), arguments.get("calendar"))
    return {"count": len(notes), "notifications": [note.as_json() for note in notes]}


@action("advance")
def _advance(world: World, arguments: Arguments) -> Any:
    return {"now": world.advance(float(arguments.get("seconds", 0)))}
