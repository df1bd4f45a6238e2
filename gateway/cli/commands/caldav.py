"""``gateway caldav``: the CalDAV server alone, in a process that never opens the key."""

import signal
from typing import Annotated

import typer

from gateway.cli.options import CaldavBind, ConfigOption, DataOption, opened, read_settings
from gateway.cli.output import JsonFlag, announce, refusals, stderr
from gateway.cli.processes import UntilStdinCloses, stop_with_parent
from storage_plugin.processes import serve_processes, usable_cores
from storage_plugin.server import serve as serve_one


def caldav(
    config: ConfigOption = None,
    data: DataOption = None,
    caldav_bind: CaldavBind = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="How many processes share the address [default: cores]."),
    ] = None,
    as_json: JsonFlag = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run the CalDAV server alone; it never opens the key."""
    stop_with_parent(until_stdin_closes)
    signal.signal(signal.SIGTERM, _interrupt)
    with refusals(as_json=as_json):
        settings = read_settings(config, data, caldav_bind=caldav_bind)
        with opened(settings, with_key=False):
            pass
        try:
            ready = announce("caldav", as_json)
            count = processes or settings.caldav_processes or usable_cores()
            if count > 1:
                serve_processes(settings, count, ready=ready)
            else:
                serve_one(settings, ready=ready)
        except KeyboardInterrupt:
            stderr.print("CalDAV server stopped")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
