"""``gateway lookalike``: the iCloud look-alike alone; needs no installation."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import JsonFlag, refusals, show
from gateway.cli.processes import UntilStdinCloses, stop_event, stop_with_parent
from gateway.lookalike.keeping import kept, load_world
from gateway.lookalike.seed import seed_demo
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.world import World


def lookalike(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the entry host; 0 is any free one.")] = 0,
    partition_port: Annotated[int, typer.Option(help="Port of the partition host.")] = 0,
    keep: Annotated[
        Path | None,
        typer.Option(help="File to keep everything in; what it holds already is gone on with."),
    ] = None,
    seed: Annotated[bool, typer.Option(help="Make accounts full of realistic calendars.")] = True,
    as_json: JsonFlag = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run the iCloud look-alike alone, for development against iCloud."""
    stop_with_parent(until_stdin_closes)
    with refusals(as_json=as_json):
        if keep is not None and keep.exists():
            world, accounts = load_world(keep)
        else:
            world = World()
            accounts = _seeded(world) if seed else []

    def announce(server: Lookalike) -> None:
        ready = {"url": server.url, "partition_url": server.partition_url, "accounts": accounts}
        lines = [f"Look-alike  {server.url}", f"Partition   {server.partition_url}"]
        lines += [f"Account     {one['email']}  {one['app_password']}" for one in accounts]
        show(ready, as_json=as_json, text="\n".join(lines))

    async def serve() -> None:
        stop = stop_event()
        async with (
            kept(keep, world, accounts),
            Lookalike(host=host, port=port, partition_port=partition_port, world=world) as server,
        ):
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
