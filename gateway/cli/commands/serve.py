"""``gateway serve``, and the parts that hold the key: ``api`` and ``worker``.

``serve`` runs the CalDAV server as a child process without the key, and the sidecar (API and
sync worker) in this one. Each part also runs alone, any number of times, against PostgreSQL.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from gateway.cli.options import (
    CaldavBind,
    ConfigOption,
    DataOption,
    Opened,
    opened,
    read_settings,
)
from gateway.cli.output import JsonFlag, announce, fail, refusals, show
from gateway.cli.processes import (
    Child,
    Kept,
    UntilStdinCloses,
    stop_event,
    stop_with_parent,
    until_given_up,
)
from gateway.cli.sidecar import open_sidecar
from gateway.observe import serving_metrics
from gateway.settings import Settings

ApiBind = Annotated[str | None, typer.Option("--api-bind", help="host:port of the API.")]

KEY_VARIABLES = ("GATEWAY_KEYRING", "GATEWAY_KEYRING_FILE")


def environment_without_key(settings: Settings) -> dict[str, str]:
    """Return the environment for a process that must not find the key."""
    kept = {name: value for name, value in os.environ.items() if name not in KEY_VARIABLES}
    kept["GATEWAY_DATA_DIR"] = str(settings.data_dir.absolute())
    kept["GATEWAY_CALDAV_BIND"] = settings.caldav_bind
    return kept


def serve(
    config: ConfigOption = None,
    data: DataOption = None,
    api_bind: ApiBind = None,
    caldav_bind: CaldavBind = None,
    as_json: JsonFlag = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run everything on this machine: CalDAV server, API and sync worker."""
    stop_with_parent(until_stdin_closes)
    with refusals(as_json=as_json):
        settings = read_settings(config, data, api_bind=api_bind, caldav_bind=caldav_bind)
        with opened(settings) as gateway:
            problem = asyncio.run(_serve_all(gateway, config, as_json=as_json))
    if problem:
        fail("part-failed", problem, as_json=False)


async def _serve_all(gateway: Opened, config: Path | None, *, as_json: bool) -> str | None:
    """Serve until told to stop; returns what went wrong, or None."""
    stop = stop_event()
    arguments = ["--config", str(config)] if config else []
    async with AsyncExitStack() as stack:
        environment = environment_without_key(gateway.settings)

        async def begin(before: dict[str, Any]) -> Child:
            bound = {"GATEWAY_CALDAV_BIND": urlsplit(before["caldav"]).netloc} if before else {}
            return await Child.start("caldav", *arguments, environment=environment | bound)

        caldav = Kept(begin)
        await caldav.start()
        stack.push_async_callback(caldav.stop)
        sidecar = await stack.enter_async_context(
            open_sidecar(gateway.settings, gateway.database, gateway.key)
        )
        stack.enter_context(serving_metrics(gateway.settings.metrics_bind))
        api_url = await stack.enter_async_context(sidecar.api())
        worker = await stack.enter_async_context(sidecar.running_worker())
        ready = {"api": api_url, "caldav": caldav.ready["caldav"]}
        show(ready, as_json=as_json, text=f"API     {api_url}\nCalDAV  {ready['caldav']}")
        return await until_given_up(stop, caldav.watch(), worker=worker)


def api(
    config: ConfigOption = None,
    data: DataOption = None,
    api_bind: ApiBind = None,
    as_json: JsonFlag = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run the HTTP API alone."""
    stop_with_parent(until_stdin_closes)
    _run_part("api", config, data, api_bind=api_bind, as_json=as_json)


def worker(
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run a sync worker alone; any number of them share the accounts."""
    stop_with_parent(until_stdin_closes)
    _run_part("worker", config, data, api_bind=None, as_json=as_json)


def _run_part(
    part: str, config: Path | None, data: Path | None, *, api_bind: str | None, as_json: bool
) -> None:
    with refusals(as_json=as_json):
        settings = read_settings(config, data, api_bind=api_bind)
        with opened(settings) as gateway:
            problem = asyncio.run(_serve_part(gateway, part, as_json=as_json))
    if problem:
        fail("part-failed", problem, as_json=False)


async def _serve_part(gateway: Opened, part: str, *, as_json: bool) -> str | None:
    stop = stop_event()
    async with AsyncExitStack() as stack:
        sidecar = await stack.enter_async_context(
            open_sidecar(gateway.settings, gateway.database, gateway.key)
        )
        stack.enter_context(serving_metrics(gateway.settings.metrics_bind))
        if part == "api":
            url = await stack.enter_async_context(sidecar.api())
            announce("api", as_json)(url)
            await stop.wait()
            return None
        running = await stack.enter_async_context(sidecar.running_worker())
        announce("worker", as_json)("running")
        return await until_given_up(stop, worker=running)
