"""``gateway connect``, ``calendars``, ``roles`` and ``logins``: one person's account and access."""

import asyncio
import sys
import time
from typing import Annotated, Any

import typer

from gateway.cli.options import (
    ConfigOption,
    DataOption,
    Opened,
    opened,
    read_settings,
)
from gateway.cli.output import JsonFlag, refusals, show, stderr, stdout, table
from gateway.cli.sidecar import open_sidecar
from gateway.cli.times import parse_zone
from gateway.core.errors import InvalidInput, NotFound
from gateway.services.roles import set_calendar_roles
from gateway.store import accounts, calendars, principals
from gateway.store.calendars import UpstreamCalendar
from gateway.store.engine import Session

PrincipalArgument = Annotated[str, typer.Argument(help="Id of the principal.")]


def connect(
    email: Annotated[str, typer.Argument(help="Apple Account address.")],
    principal: Annotated[
        str | None, typer.Option(help="An existing principal; otherwise one is made.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new principal.")] = None,
    zone: Annotated[str, typer.Option(help="IANA time zone of the new principal.")] = "UTC",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the app-specific password from stdin.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Connect an iCloud account: checks it live, stores nothing when the check fails."""
    password = _password(password_stdin)
    with refusals(as_json=as_json), opened(read_settings(config, data)) as gateway:
        principal_id = asyncio.run(
            _connect(gateway, principal, name or email, zone, (email, password))
        )
        listed = _calendars(gateway, principal_id)
    result = {"principal": principal_id, "calendars": [_summary(c) for c in listed]}

    def text() -> None:
        stdout.print(f"Connected. Principal {principal_id}\n")
        _print_calendars(listed)
        stdout.print(f"\nNext: gateway roles {principal_id} --linked NAME --conflict NAME")

    show(result, as_json=as_json, text=text)


async def _connect(
    gateway: Opened, principal: str | None, name: str, zone: str, login: tuple[str, str]
) -> str:
    """Connect, removing a principal made for this when the account is refused (R1)."""
    parse_zone(zone)
    made = None
    if principal is None:
        with gateway.database.write() as session:
            made = _create_principal(session, name, zone)
    principal_id = principal or made or ""
    try:
        async with open_sidecar(gateway.settings, gateway.database, gateway.key) as sidecar:
            await sidecar.accounts.connect(principal_id, *login)
    except BaseException:
        if made:
            with gateway.database.write() as session:
                principals.delete_principal(session, made)
        raise
    return principal_id


def _create_principal(session: Session, name: str, zone: str) -> str:
    existing = principals.list_subaccounts(session)
    now = int(time.time())
    subaccount = (
        existing[0] if existing else principals.create_subaccount(session, name="default", now=now)
    )
    return principals.create_principal(
        session, subaccount_id=subaccount.id, name=name, time_zone=zone, now=now
    ).id


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().strip()
    stderr.print("An app-specific password is made at account.apple.com, Sign-In and Security.")
    return str(typer.prompt("App-specific password", hide_input=True, err=True))


def show_calendars(
    principal: PrincipalArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the calendars of a connection: what each is and may be used for."""
    with refusals(as_json=as_json), opened(read_settings(config, data), with_key=False) as gateway:
        listed = _calendars(gateway, principal)
    show(
        {"calendars": [_summary(calendar) for calendar in listed]},
        as_json=as_json,
        text=lambda: _print_calendars(listed),
    )


def roles(
    principal: PrincipalArgument,
    linked: Annotated[
        str | None, typer.Option(help="Name or id of the calendar appointments go to.")
    ] = None,
    conflict: Annotated[
        list[str] | None, typer.Option(help="Name or id of a calendar that blocks; repeatable.")
    ] = None,
    linked_blocks: Annotated[
        bool, typer.Option(help="Whether the linked calendar blocks availability.")
    ] = True,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Choose the linked calendar and the conflict calendars; replaces the earlier choice."""
    with refusals(as_json=as_json), opened(read_settings(config, data), with_key=False) as gateway:
        listed = _calendars(gateway, principal)
        with gateway.database.write() as session:
            chosen = set_calendar_roles(
                session,
                principal,
                linked=_find(listed, linked) if linked else None,
                conflicts=[_find(listed, name) for name in conflict or []],
                linked_blocks=linked_blocks,
                now=int(time.time()),
            )
    show(
        {"calendars": [_summary(calendar) for calendar in chosen]},
        as_json=as_json,
        text=lambda: _print_calendars(list(chosen)),
    )


def logins(
    principal: PrincipalArgument,
    add: Annotated[str | None, typer.Option(help="Make a login: device or platform.")] = None,
    label: Annotated[str, typer.Option(help="What the new login is for.")] = "",
    revoke: Annotated[str | None, typer.Option(help="Id of a login to revoke.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List, make or revoke the logins of a principal."""
    if add not in (None, "device", "platform"):
        raise typer.BadParameter("must be device or platform", param_hint="--add")
    with (
        refusals(as_json=as_json),
        opened(read_settings(config, data), with_key=False) as gateway,
        gateway.database.write() as session,
    ):
        principals.get_principal(session, principal)
        made = _change_logins(session, principal, add, label, revoke)
        listed = principals.list_logins(session, principal)
    result: dict[str, Any] = {"logins": listed}
    if made:
        result["login"], result["password"] = made

    def text() -> None:
        if made:
            stdout.print(f"User      {made[0]}\nPassword  {made[1]}  (shown this once)\n")
        rows = [[one.id, one.kind, one.login, one.label, one.user_agent or "–"] for one in listed]
        table("id", "kind", "login", "label", "last used by", rows=rows, empty="No logins yet.")

    show(result, as_json=as_json, text=text)


def _change_logins(
    session: Session, principal: str, add: str | None, label: str, revoke: str | None
) -> tuple[str, str] | None:
    if revoke:
        principals.delete_login(session, principal, revoke)
    if add is None:
        return None
    kind: principals.LoginKind = "device" if add == "device" else "platform"
    login, secret = principals.create_login(
        session, principal_id=principal, kind=kind, label=label, now=int(time.time())
    )
    return login.login, secret


def _calendars(gateway: Opened, principal_id: str) -> list[UpstreamCalendar]:
    with gateway.database.read() as session:
        principals.get_principal(session, principal_id)
        connection = accounts.find_connection(session, principal_id)
        if connection is None or connection.state == "disconnected":
            raise NotFound("This principal has no connection.", code="not-connected")
        return calendars.list_calendars(session, connection.id)


def _find(listed: list[UpstreamCalendar], wanted: str) -> str:
    matches = [c.id for c in listed if wanted in (c.id, c.name)]
    if not matches:
        matches = [c.id for c in listed if c.name.casefold() == wanted.casefold()]
    if len(matches) == 1:
        return matches[0]
    why = "names no calendar" if not matches else "names more than one calendar; use its id"
    raise InvalidInput(f"“{wanted}” {why}.", code="unknown-calendar")


def _summary(calendar: UpstreamCalendar) -> dict[str, Any]:
    return {
        "id": calendar.id,
        "name": calendar.name,
        "writable": calendar.writable,
        "linkable": calendar.linkable,
        "conflictable": calendar.conflictable,
        "refusal": calendar.refusal,
        "role": calendar.role,
        "blocks": calendar.blocks,
        "state": calendar.state,
        "synced_at": calendar.synced_at,
        "progress_done": calendar.progress_done,
        "progress_total": calendar.progress_total,
        "problem": calendar.problem,
    }


def _state(calendar: UpstreamCalendar) -> str:
    """Say how a calendar stands; of a first sync under way also how far it is."""
    if calendar.state == "syncing" and calendar.progress_total is not None:
        return f"syncing, {calendar.progress_done} of {calendar.progress_total}"
    return calendar.state


def _print_calendars(listed: list[UpstreamCalendar]) -> None:
    rows = [
        [c.name, c.role, "yes" if c.blocks else "no", _state(c), c.refusal or "", c.id]
        for c in listed
    ]
    table("calendar", "role", "blocks", "state", "refused because", "id", rows=rows, empty="None.")
