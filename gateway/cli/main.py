"""The command ``gateway``: the composition root. Builds everything, starts it, decides nothing.

Exit codes: 0 done, 1 refused or failed with a message, 2 wrong usage.
"""

import sys
from importlib import import_module

import typer

COMMANDS = {
    "demo": "demo:demo",
    "init": "setup:init",
    "migrate": "setup:migrate",
    "serve": "serve:serve",
    "caldav": "caldav:caldav",
    "api": "serve:api",
    "worker": "serve:worker",
    "connect": "people:connect",
    "password": "people:password",
    "disconnect": "people:disconnect",
    "calendars": "calendars:list_calendars",
    "roles": "calendars:roles",
    "sync": "watch:sync",
    "freebusy": "watch:freebusy",
    "logins": "people:logins",
    "keys": "keys:keys",
    "pushes": "pushes:pushes",
    "doctor": "doctor:doctor",
    "busy": "busy:busy",
    "lookalike": "lookalike:lookalike",
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
