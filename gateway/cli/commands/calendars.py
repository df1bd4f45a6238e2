"""``gateway calendars`` and ``gateway roles``: what each calendar may be and is used for."""

import time
from typing import Annotated, Any, cast, get_args

import typer

from gateway.cli.options import ConfigOption, DataOption, Opened, opened, read_settings
from gateway.cli.output import JsonFlag, refusals, show, stdout, table
from gateway.core.errors import InvalidInput
from gateway.core.recurrence.model import AllDay
from gateway.core.subscriptions import is_subscription_address
from gateway.services.access.people import PersonRef
from gateway.services.accounts.roles import (
    KEEP,
    REFUSALS,
    change_calendar_roles,
    name_calendars,
    refusal_of,
)
from gateway.services.accounts.views import view_calendars
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.engine import Session

PrincipalArgument = Annotated[str, typer.Argument(help="Id of the principal.")]


def list_calendars(
    principal: PrincipalArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the calendars of a connection: what each is and may be used for."""
    with refusals(as_json=as_json), opened(read_settings(config, data), with_key=False) as gateway:
        listed = calendars_of(gateway, principal)
    _show(listed, as_json)


def roles(
    principal: PrincipalArgument,
    linked: Annotated[
        str | None, typer.Option(help="Name or id of the calendar appointments go to.")
    ] = None,
    no_linked: Annotated[
        bool, typer.Option("--no-linked", help="Link none: appointments stay here.")
    ] = False,
    conflict: Annotated[
        list[str] | None, typer.Option(help="Name or id of one more that blocks; repeatable.")
    ] = None,
    no_conflict: Annotated[
        list[str] | None, typer.Option(help="Name or id of one that blocks no more; repeatable.")
    ] = None,
    no_conflicts: Annotated[
        bool, typer.Option("--no-conflicts", help="No other one blocks than those named here.")
    ] = False,
    linked_blocks: Annotated[
        bool | None, typer.Option(help="Whether the linked calendar blocks availability.")
    ] = None,
    all_day: Annotated[
        list[str] | None,
        typer.Option(
            help="How all-day events of a calendar count, repeatable: as-marked, block or ignore.",
            metavar="NAME=HOW",
        ),
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what the calendars are used for, or change what is named; the rest stays."""
    if linked and no_linked:
        raise typer.BadParameter("contradicts --no-linked", param_hint="--linked")
    named = (linked, no_linked, conflict, no_conflict, no_conflicts, all_day)
    with refusals(as_json=as_json), opened(read_settings(config, data), with_key=False) as gateway:
        if all(one in (None, False, []) for one in named) and linked_blocks is None:
            chosen = calendars_of(gateway, principal)
        else:
            with gateway.database.write() as session:
                known = _listed(session, principal)
                chosen = change_calendar_roles(
                    session,
                    principal,
                    linked=None if no_linked else _find(known, linked) if linked else KEEP,
                    linked_blocks=linked_blocks,
                    conflicts=() if no_conflicts else None,
                    add=[_find(known, name) for name in conflict or []],
                    drop=[_find(known, name) for name in no_conflict or []],
                    all_day=dict(_all_day(known, choice) for choice in all_day or []),
                    now=int(time.time()),
                )
    _show(chosen, as_json)


def _show(listed: list[UpstreamCalendar], as_json: bool) -> None:
    show(
        {"calendars": [show_calendar(calendar) for calendar in listed]},
        as_json=as_json,
        text=lambda: print_calendars(listed),
    )


def calendars_of(gateway: Opened, principal_id: str) -> list[UpstreamCalendar]:
    """Return the calendars of a connected person; raises :class:`NotFound` without an account."""
    with gateway.database.read() as session:
        return _listed(session, principal_id)


def _listed(session: Session, principal_id: str) -> list[UpstreamCalendar]:
    views = view_calendars(session, PersonRef(principal_id))
    return [view.calendar for view in views]


def _find(listed: list[UpstreamCalendar], wanted: str) -> str:
    matches = [one for one in listed if wanted in (one.id, one.name)]
    if not matches:
        folded = wanted.strip().casefold()
        matches = [one for one in listed if one.name.strip().casefold() == folded]
    if len(matches) == 1:
        return matches[0].id
    if not matches and is_subscription_address(wanted):
        raise InvalidInput(REFUSALS["calendar-subscribed"], code="calendar-subscribed")
    if matches:
        which = ", ".join(one.id for one in matches)
        why = f"names more than one calendar; use an id: {which}."
    else:
        why = f"names no calendar of this account. It has {name_calendars(listed)}."
    raise InvalidInput(f"“{wanted}” {why}", code="unknown-calendar")


def _all_day(listed: list[UpstreamCalendar], choice: str) -> tuple[str, AllDay]:
    """Read ``NAME=HOW``; a name may hold equals signs itself."""
    name, _, how = choice.rpartition("=")
    if how not in get_args(AllDay):
        raise typer.BadParameter(
            f"{choice!r} must be a calendar, '=' and one of {', '.join(get_args(AllDay))}",
            param_hint="--all-day",
        )
    return _find(listed, name), cast(AllDay, how)


def show_calendar(calendar: UpstreamCalendar) -> dict[str, Any]:
    """Shape one calendar as ``--json`` prints it, with the names the API uses."""
    refusal = refusal_of(calendar, needs_write=True)
    return {
        "id": calendar.id,
        "name": calendar.name,
        "writable": calendar.writable,
        "linkable": refusal is None,
        "conflictable": refusal_of(calendar, needs_write=False) is None,
        "refusal": refusal,
        "role": calendar.role,
        "blocks": calendar.blocks,
        "all_day": calendar.all_day,
        "state": calendar.state,
        "synced_at": calendar.synced_at,
        "progress_done": calendar.progress_done,
        "progress_total": calendar.progress_total,
        "problem": calendar.told_problem,
        "catching_up": calendar.catching_up,
        "set_aside": calendar.set_aside,
    }


def _state(calendar: UpstreamCalendar) -> str:
    """Say how a calendar stands; of a first sync under way also how far it is."""
    if calendar.state == "syncing" and calendar.progress_total is not None:
        return f"syncing, {calendar.progress_done} of {calendar.progress_total}"
    problem = calendar.told_problem
    return calendar.state if problem is None else f"{calendar.state}, {problem}"


def print_calendars(listed: list[UpstreamCalendar]) -> None:
    """Print the calendars of an account for a person."""
    rows = []
    for one in listed:
        shown = show_calendar(one)
        rows.append(
            [
                one.name,
                one.role,
                _yes(one.blocks),
                one.all_day,
                _yes(shown["linkable"]),
                _yes(shown["conflictable"]),
                _state(one),
                shown["refusal"] or "",
                one.id,
            ]
        )
    columns = ("calendar", "role", "blocks", "all-day", "may be linked", "may block", "state")
    table(*columns, "refused because", "id", rows=rows, empty="None.")
    stdout.print("")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
