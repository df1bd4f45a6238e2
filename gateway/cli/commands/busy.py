"""``gateway busy``: the engine alone, over calendar files; needs no installation."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import JsonFlag, refusals, show, stderr, table
from gateway.cli.times import parse_window, parse_zone
from gateway.core.availability.files import busy_of_files


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
