"""``gateway sync`` and ``gateway freebusy``: look at iCloud now, and ask what is known."""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from gateway.api.freebusy.handlers import check_window, free_busy_pieces
from gateway.cli.commands.calendars import PrincipalArgument
from gateway.cli.options import (
    ConfigOption,
    DataOption,
    Opened,
    opened,
    read_settings,
)
from gateway.cli.output import REFUSED, JsonFlag, refusals, show, stderr, stdout, table
from gateway.cli.sidecar import open_sidecar
from gateway.cli.times import parse_window, parse_zone
from gateway.core.errors import GatewayError
from gateway.isolation import EVERYBODYS
from gateway.services.access.people import PersonRef
from gateway.services.accounts.views import connected_account
from gateway.services.availability import free_busy
from gateway.store.access import principals
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Connection
from gateway.store.accounts.calendars import list_calendars
from gateway.store.accounts.leases import POLLED_STATES
from gateway.store.engine import Session
from gateway.store.objects.collections import list_collections
from gateway.sync.context import SyncContext
from gateway.sync.report import Progress, SyncReport
from gateway.sync.run import sync_account


def sync(
    principal: Annotated[
        str | None, typer.Argument(help="Id of the principal; without it, everybody.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Sync once, now: push what waits, then read what changed in iCloud."""
    with refusals(as_json=as_json), opened(read_settings(config, data)) as gateway:
        chosen = _connections(gateway, principal)
        reports = asyncio.run(_sync_all(gateway, chosen))

    def text() -> None:
        for connection, report in zip(chosen, reports, strict=True):
            _print_report(connection, report)
        if not reports:
            stdout.print("There is no connected account.")

    show({"accounts": reports}, as_json=as_json, text=text)
    if not all(report.ok for report in reports):
        raise typer.Exit(REFUSED)


def _connections(gateway: Opened, principal_id: str | None) -> list[Connection]:
    with gateway.database.read() as session:
        if principal_id is None:
            return [c for c in accounts.list_connections(session) if c.state in POLLED_STATES]
        return [connected_account(session, PersonRef(principal_id))]


async def _sync_all(gateway: Opened, connections: list[Connection]) -> list[SyncReport]:
    bars = Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=stderr)
    bars.disable = not stderr.is_terminal
    async with open_sidecar(gateway.settings, gateway.database, gateway.key) as sidecar:
        with bars:
            return [
                await _sync_one(sidecar.context, connection.id, _mover(bars))
                for connection in connections
            ]


async def _sync_one(
    context: SyncContext, connection_id: str, progress: Callable[[Progress], None]
) -> SyncReport:
    """Sync one account; why it could not be is told in its report, and the next one follows."""
    try:
        return await sync_account(context, connection_id, progress=progress)
    except EVERYBODYS:
        raise
    except GatewayError as error:
        return SyncReport(connection_id, "unknown", problem=error.code, detail=error.detail)


def _mover(bars: Bars) -> Callable[[Progress], None]:
    """Return a callback that keeps one bar per calendar."""
    tasks: dict[str, Any] = {}

    def move(progress: Progress) -> None:
        if progress.calendar_id not in tasks:
            tasks[progress.calendar_id] = bars.add_task(progress.name)
        bars.update(tasks[progress.calendar_id], completed=progress.done, total=progress.total)

    return move


def _print_report(connection: Connection, report: SyncReport) -> None:
    changed = sum(calendar.changed for calendar in report.calendars)
    removed = sum(calendar.removed for calendar in report.calendars)
    stdout.print(
        f"{connection.principal_id}: {report.state}, {report.requests} requests, "
        f"{changed} read, {removed} removed, {report.pushed} pushed"
    )
    if report.problem:
        stdout.print(f"  {report.problem}: {report.detail or ''}", markup=False)
    for outcome in report.outcomes:
        if not outcome.is_current:
            why = f"{outcome.problem}: {outcome.detail or ''}"
            stdout.print(f"  {outcome.name}: {outcome.outcome}, {why}", markup=False)


def freebusy(
    principal: PrincipalArgument,
    start: Annotated[str | None, typer.Option(help="Start; default now.")] = None,
    end: Annotated[str | None, typer.Option(help="End, exclusive; default start + days.")] = None,
    days: Annotated[int, typer.Option(help="Length when no end is given.", min=1)] = 7,
    zone: Annotated[str | None, typer.Option(help="Zone of the answer; default theirs.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Print when a principal is busy, from what is stored here; iCloud is not asked."""
    with (
        refusals(as_json=as_json),
        opened(read_settings(config, data), with_key=False) as gateway,
        gateway.database.read() as session,
    ):
        person = principals.get_principal(session, principal)
        named = parse_zone(zone or person.time_zone)
        now = int(time.time())
        window = check_window(*parse_window(start, end, days, named), now=now)
        found = free_busy(session, person, window, now=now)
        names = _calendar_names(session, person.id)
    answer = orjson.loads(b"".join(free_busy_pieces(found, named)))
    for source in answer["sources"]:
        source["name"] = names.get(source["calendar"])

    def text() -> None:
        rows = [[period["start"], period["end"], period["status"]] for period in answer["busy"]]
        table("start", "end", "status", rows=rows, empty="Nothing is busy.")
        stdout.print()
        sources = [
            [
                source["name"] or "–",
                source["role"],
                source["state"],
                "–" if source["age_s"] is None else f"{source['age_s']} s",
                source["calendar"],
            ]
            for source in answer["sources"]
        ]
        columns = ("calendar", "source", "state", "age", "id")
        table(*columns, rows=sources, empty="There is no source.")
        if not answer["complete"]:
            stdout.print("Part of this time is unknown.")

    show(answer, as_json=as_json, text=text)


def _calendar_names(session: Session, principal_id: str) -> dict[str, str]:
    """Name every source of a person: the calendars of iCloud and the collections here."""
    connection = accounts.find_connection(session, principal_id)
    names = {one.id: one.display_name for one in list_collections(session, principal_id)}
    if connection is not None:
        names |= {one.id: one.name for one in list_calendars(session, connection.id)}
    return names
