"""``gateway busy`` and ``gateway lookalike``: tools that need no installation."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import JsonFlag, parse_window, parse_zone
from gateway.cli.output import refusals, show, stderr, table
from gateway.cli.processes import UntilStdinCloses, stop_event, stop_with_parent
from gateway.core.busy_files import busy_of_files
from gateway.lookalike.seed import seed_demo
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world import World


def busy(
    files: Annotated[list[Path], typer.Argument(help="iCalendar files.", metavar="FILE.ics…")],
    start: Annotated[str | None, typer.Option(help="Start; default now.")] = None,
    end: Annotated[str | None, typer.Option(help="End, exclusive; default start + days.")] = None,
    days: Annotated[int, typer.Option(help="Length when no end is given.", min=1)] = 28,
    zone: Annotated[str, typer.Option(help="Zone of floating and all-day times.")] = "UTC",
    as_json: JsonFlag = False,
) -> None:
    """Run the engine alone: print the busy periods of files, with the reason for each."""
    with refusals(as_json=as_json):
        named = parse_zone(zone)
        window = parse_window(start, end, days, named)
        answer = busy_of_files([(str(path), path.read_bytes()) for path in files], window, named)

    def text() -> None:
        rows = [
            [period["start"], period["end"], period["status"], ", ".join(period["reasons"])]
            for period in answer["busy"]
        ]
        table("start", "end", "status", "because", rows=rows, empty="Nothing is busy.")
        for problem in answer["problems"]:
            stderr.print(f"{problem['file']}: {problem['code']}: {problem['detail']}", markup=False)

    show(answer, as_json=as_json, text=text)


def lookalike(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the entry host; 0 is any free one.")] = 0,
    partition_port: Annotated[int, typer.Option(help="Port of the partition host.")] = 0,
    seed: Annotated[bool, typer.Option(help="Make accounts full of realistic calendars.")] = True,
    as_json: JsonFlag = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run the iCloud look-alike alone, for development against iCloud."""
    stop_with_parent(until_stdin_closes)
    world = World()
    accounts = _seeded(world) if seed else []

    def announce(server: Lookalike) -> None:
        ready = {"url": server.url, "partition_url": server.partition_url, "accounts": accounts}
        lines = [f"Look-alike  {server.url}", f"Partition   {server.partition_url}"]
        lines += [f"Account     {one['email']}  {one['app_password']}" for one in accounts]
        show(ready, as_json=as_json, text="\n".join(lines))

    async def serve() -> None:
        stop = stop_event()
        async with Lookalike(
            host=host, port=port, partition_port=partition_port, world=world
        ) as server:
            announce(server)
            await stop.wait()

    with refusals(as_json=as_json):
        asyncio.run(serve())


def _seeded(world: World) -> list[dict[str, str]]:
    """Fill the world; the last account is for trying out `connect`."""
    people = [(one.email, one.name, one.zone, one.app_password) for one in seed_demo(world)]
    spare = world.add_account("noor@example.com", name="Noor Haddad")
    people.append((spare.email, spare.name, "Europe/London", spare.issue_app_password()))
    names = ("email", "name", "zone", "app_password")
    return [dict(zip(names, person, strict=True)) for person in people]
