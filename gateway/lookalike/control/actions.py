"""Control actions about accounts, calendars, switches, the log and the clock."""

from typing import Any

from gateway.lookalike.control.control import Arguments, account_of, action, calendar_of
from gateway.lookalike.world.accounts import Account, Calendar, Kind, Mode
from gateway.lookalike.world.quirks import QUIRKS
from gateway.lookalike.world.world import World

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
    """All accounts with their calendars and active app-specific passwords."""
    return [describe_account(account) for account in world.accounts.values()]


@action("add-account")
def _add_account(world: World, arguments: Arguments) -> Any:
    """`email`, `name`?, `dsid`?: create an account with the default calendars and a password."""
    account = world.add_account(
        str(arguments["email"]),
        name=str(arguments.get("name", "Taylor Example")),
        dsid=arguments.get("dsid"),
    )
    password = account.issue_app_password()
    return {**describe_account(account), "app_password": password}


@action("issue-password")
def _issue(world: World, arguments: Arguments) -> Any:
    """`account`: issue a new app-specific password."""
    return {"app_password": account_of(world, arguments).issue_app_password()}


@action("revoke")
def _revoke(world: World, arguments: Arguments) -> Any:
    """`account`, `password`?: revoke one app-specific password, or all."""
    account = account_of(world, arguments)
    account.revoke(str(arguments.get("password", "all")))
    return {"app_passwords": sorted(account.app_passwords)}


@action("move-partition")
def _move_partition(world: World, arguments: Arguments) -> Any:
    """`account`, `refuse`?: move to the other partition.

    The old one refuses from then on: `401`, `404` or `connect` (the connection is dropped).
    """
    account = account_of(world, arguments)
    account.move_partition(arguments.get("to"), refuse=str(arguments.get("refuse", "401")))
    return {"partition": account.partition, "url": world.partitions[account.partition]}


# -- calendars ---------------------------------------------------------------------------------


@action("create-calendar")
def _create_calendar(world: World, arguments: Arguments) -> Any:
    """`account`, `name`, `id`?, `kind`?, `source`?: create a calendar."""
    kind = Kind(str(arguments.get("kind", "calendar")))
    account = account_of(world, arguments)
    calendar = account.add_calendar(
        str(arguments["name"]), calendar_id=arguments.get("id"), kind=kind
    )
    calendar.source = arguments.get("source")
    return describe_calendar(calendar)


@action("drop-calendar")
def _drop_calendar(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`: delete an own calendar, or leave a share."""
    account_of(world, arguments).drop_calendar(str(arguments["calendar"]))
    return {}


@action("rename-calendar")
def _rename_calendar(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `name`?, `color`?: rename or recolour a calendar."""
    calendar = calendar_of(world, arguments)
    calendar.name = str(arguments.get("name", calendar.name))
    calendar.color = str(arguments.get("color", calendar.color))
    return describe_calendar(calendar)


@action("share")
def _share(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `sharee`, `mode`?: share a calendar (`read`, `write`)."""
    mode: Mode = "read" if arguments.get("mode") == "read" else "write"
    shared = world.share(
        str(arguments["account"]), str(arguments["calendar"]), str(arguments["sharee"]), mode
    )
    return describe_calendar(shared)


@action("unshare")
def _unshare(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `sharee`: take a share back."""
    world.unshare(str(arguments["account"]), str(arguments["calendar"]), str(arguments["sharee"]))
    return {}


@action("set-mode")
def _set_mode(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`, `mode`: make a shared-in calendar `read` or `write`."""
    calendar = calendar_of(world, arguments)
    mode = str(arguments["mode"])
    if mode not in ("read", "write") or calendar.mode == "owner":
        raise ValueError("only a shared-in calendar can be made `read` or `write`")
    calendar.mode = "read" if mode == "read" else "write"
    return describe_calendar(calendar)


@action("drop-tokens")
def _drop_tokens(world: World, arguments: Arguments) -> Any:
    """`account`, `calendar`?: make all sync tokens handed out so far unusable."""
    if "calendar" in arguments:
        calendar_of(world, arguments).contents.drop_tokens()
    else:
        for calendar in account_of(world, arguments).calendars.values():
            calendar.contents.drop_tokens()
    return {}


# -- switches, log, clock ----------------------------------------------------------------------


@action("quirks")
def _quirks(world: World, arguments: Arguments) -> Any:
    """List the quirks, as in the tables of this page."""
    keys = ("row", "name", "kind", "text", "trigger")
    return [
        {key: getattr(quirk, key) for key in keys} | {"params": dict(quirk.params)}
        for quirk in QUIRKS
    ]


@action("set-fault")
def _set_fault(world: World, arguments: Arguments) -> Any:
    """`quirk` and the quirk's own parameters: set a switch.

    `account`?, `calendar`?, `method`?, `path`? narrow it; `times`?, `skip`?, `seconds`? limit it;
    `off`? switches a default off.
    """
    given = {**arguments}
    for key, kind in (("times", int), ("skip", int), ("seconds", float)):
        if key in given:
            given[key] = kind(given[key])
    return {"id": world.faults.set(str(given.pop("quirk")), **given)}


@action("clear-faults")
def _clear_faults(world: World, arguments: Arguments) -> Any:
    """`quirk`?, `account`?, `id`?: remove switches (all without arguments)."""
    number = arguments.get("id")
    gone = world.faults.clear(
        arguments.get("quirk"),
        account=arguments.get("account"),
        id=None if number is None else int(number),
    )
    return {"cleared": gone}


@action("faults")
def _faults(world: World, arguments: Arguments) -> Any:
    """List the switches that can still act."""
    return [switch.as_json() for switch in world.faults.active()]


@action("stop")
def _stop(world: World, arguments: Arguments) -> Any:
    """`seconds`?: drop every CalDAV connection, for some time or until `start`."""
    seconds = arguments.get("seconds")
    return {"id": world.faults.set("down", seconds=None if seconds is None else float(seconds))}


@action("start")
def _start(world: World, arguments: Arguments) -> Any:
    """Serve again after `stop`."""
    return {"cleared": world.faults.clear("down")}


@action("log")
def _log(world: World, arguments: Arguments) -> Any:
    """`account`?, `since`?, `method`?, `calendar`?: the logged requests in order."""
    entries = world.journal.select(
        account=arguments.get("account"),
        since=int(arguments.get("since", 0)),
        method=arguments.get("method"),
        calendar=arguments.get("calendar"),
    )
    return [entry.as_json() for entry in entries]


@action("clear-log")
def _clear_log(world: World, arguments: Arguments) -> Any:
    """Forget the log."""
    world.journal.clear()
    return {"last_seq": world.journal.last_seq}


@action("mails")
def _mails(world: World, arguments: Arguments) -> Any:
    """`account`?: the e-mails the server sent to guests."""
    mails = world.select_mails(arguments.get("account"))
    return {"count": len(mails), "mails": [mail.as_json() for mail in mails]}


@action("notifications")
def _notifications(world: World, arguments: Arguments) -> Any:
    """`account`?, `calendar`?: what the phones of other sharees showed."""
    notes = world.select_notifications(arguments.get("account"), arguments.get("calendar"))
    return {"count": len(notes), "notifications": [note.as_json() for note in notes]}


@action("advance")
def _advance(world: World, arguments: Arguments) -> Any:
    """`seconds`: move the clock forward."""
    return {"now": world.advance(float(arguments.get("seconds", 0)))}
