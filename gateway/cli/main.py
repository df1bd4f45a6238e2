"""The command ``gateway``: the composition root. Builds everything, starts it, decides nothing.

Exit codes: 0 done, 1 refused or failed with a message, 2 wrong usage.
"""

import sys
from importlib import import_module

import typer

COMMANDS = {
    "demo": "demo.command:demo",
    "init": "commands.setup:init",
    "migrate": "commands.setup:migrate",
    "serve": "commands.serve:serve",
    "caldav": "commands.caldav:caldav",
    "api": "commands.serve:api",
    "worker": "commands.serve:worker",
    "connect": "commands.people:connect",
    "password": "commands.people:password",
    "disconnect": "commands.people:disconnect",
    "calendars": "commands.calendars:list_calendars",
    "roles": "commands.calendars:roles",
    "sync": "commands.watch:sync",
    "freebusy": "commands.watch:freebusy",
    "logins": "commands.people:logins",
    "keys": "commands.keys:keys",
    "pushes": "commands.pushes:pushes",
    "doctor": "doctor.command:doctor",
    "busy": "commands.busy:busy",
    "lookalike": "commands.lookalike:lookalike",
}
"""Every command, and where it lives below ``gateway.cli``."""


def build_app(only: str | None = None) -> typer.Typer:
    """Return the command line; with ``only``, the one command, so that nothing else is loaded."""
    app = typer.Typer(
        name="gateway",
        help="A CalDAV gateway for iCloud with a conflict-aware availability layer.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )
    app.callback()(lambda: None)  # keeps the command's name when there is only one
    for name, place in COMMANDS.items():
        if only in (None, name):
            module, _, function = place.partition(":")
            app.command(name)(getattr(import_module(f"gateway.cli.{module}"), function))
    return app


def main() -> None:
    """Run the command line; Ctrl-C ends quietly."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        build_app(wanted if wanted in COMMANDS else None)()
    except KeyboardInterrupt:
        sys.exit(130)
