"""Control actions on calendar objects: what a person does on the phone, and raw injection."""

import base64
from typing import Any

from gateway.lookalike.control.control import (
    Arguments,
    account_of,
    action,
    calendar_of,
    decode_body,
)
from gateway.lookalike.world.fixtures import put_fixtures
from gateway.lookalike.world.phone import Phone
from gateway.lookalike.world.world import World


def _aim(world: World, arguments: Arguments) -> tuple[Phone, str, str]:
    account = account_of(world, arguments)
    return account.phone, str(arguments["calendar"]), str(arguments["name"])


@action("objects")
def _objects(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`: the objects with name, UID, ETag and size."""
    return [
        {"name": one.name, "uid": one.uid, "etag": one.etag, "size": len(one.data)}
        for one in calendar_of(world, arguments).resources.values()
    ]


@action("get")
def _get(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`: the stored bytes (`base64`, `data`)."""
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
    """`account`, `calendar`, `data` or `base64`, `name`?: create or replace an object.

    Any bytes can be injected; nothing is checked.
    """
    account = account_of(world, arguments)
    data = decode_body(arguments)
    return {"name": account.put(str(arguments["calendar"]), data, arguments.get("name"))}


@action("delete")
def _delete(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`: delete an object."""
    account_of(world, arguments).delete(str(arguments["calendar"]), str(arguments["name"]))
    return {}


@action("move")
def _move(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `to`: move an object to another calendar."""
    name = account_of(world, arguments).move(
        str(arguments["calendar"]), str(arguments["name"]), str(arguments["to"])
    )
    return {"name": name}


@action("drift")
def _drift(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`: change the ETag of an object nobody edited."""
    calendar = calendar_of(world, arguments)
    return {"etag": calendar.contents.touch(str(arguments["name"]), world.now()).etag}


@action("hold-uid")
def _hold_uid(world: World, arguments: Arguments) -> Any:
    """`account`, `uid`: let an invisible object hold a UID."""
    account = account_of(world, arguments)
    world.ledger(account.email).hidden.add(str(arguments["uid"]))
    return {}


@action("edit")
def _edit(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `properties`: set (null: remove) properties of an event."""
    phone, calendar, name = _aim(world, arguments)
    phone.edit(calendar, name, **arguments["properties"])
    return {}


@action("reschedule")
def _reschedule(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `seconds`, `length`?: move an event or series in time."""
    phone, calendar, name = _aim(world, arguments)
    length = arguments.get("length")
    phone.reschedule(
        calendar,
        name,
        float(arguments["seconds"]),
        length=None if length is None else float(length),
    )
    return {}


@action("move-occurrence")
def _move_occurrence(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `recurrence`, `seconds`: move one instance of a series."""
    phone, calendar, name = _aim(world, arguments)
    phone.move_occurrence(calendar, name, str(arguments["recurrence"]), float(arguments["seconds"]))
    return {}


@action("delete-occurrence")
def _delete_occurrence(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `recurrence`: delete one instance of a series."""
    phone, calendar, name = _aim(world, arguments)
    phone.delete_occurrence(calendar, name, str(arguments["recurrence"]))
    return {}


@action("split-series")
def _split_series(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `recurrence`, `seconds`?: change this and all future ones."""
    phone, calendar, name = _aim(world, arguments)
    seconds = float(arguments.get("seconds", 0))
    new = phone.split_series(calendar, name, str(arguments["recurrence"]), seconds=seconds)
    return {"name": new}


@action("add-guests")
def _add_guests(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `guests`: invite people (a list of addresses)."""
    phone, calendar, name = _aim(world, arguments)
    phone.add_guests(calendar, name, *map(str, arguments["guests"]))
    return {}


@action("respond")
def _respond(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`, `partstat`: answer an invitation."""
    phone, calendar, name = _aim(world, arguments)
    phone.respond(calendar, name, str(arguments["partstat"]))
    return {}


@action("put-fixtures")
def _put_fixtures(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `fixtures`?: put odd but real events (all, or those named)."""
    account = account_of(world, arguments)
    names = arguments.get("fixtures")
    return put_fixtures(account, str(arguments["calendar"]), None if names is None else list(names))
