"""The command ``gateway``: the composition root. Builds everything, starts it, decides nothing.

Exit codes: 0 done, 1 refused or failed with a message, 2 wrong usage.
"""

import sys

import typer

from gateway.cli import demo, doctor, look, people, serve, setup, watch

app = typer.Typer(
    name="gateway",
    help="A CalDAV gateway for iCloud with a conflict-aware availability layer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)

for command in (
    demo.demo,
    setup.init,
    setup.migrate,
    serve.serve,
    serve.caldav,
    serve.api,
    serve.worker,
    people.connect,
    people.roles,
    watch.sync,
    watch.freebusy,
    people.logins,
    doctor.doctor,
    look.busy,
    look.lookalike,
):
    app.command()(command)
app.command("calendars")(people.show_calendars)


def main() -> None:
    """Run the command line; Ctrl-C ends quietly."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
