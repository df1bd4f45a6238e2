"""What commands print: text for people, one JSON document with ``--json``, errors on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.core.errors import GatewayError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

DONE, REFUSED, USAGE = 0, 1, 2
"""Exit codes of every command (scripts rely on them)."""

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)


def show(value: Any, *, as_json: bool, text: Callable[[], None] | str) -> None:
    """Print ``value`` as one line of JSON, or call (or print) ``text`` for a person."""
    if as_json:
        sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    elif callable(text):
        text()
    else:
        stdout.print(text)


def announce(part: str, as_json: bool) -> Callable[[str], None]:
    """Return what a server calls with its URL when it is ready."""
    return lambda url: show({part: url}, as_json=as_json, text=f"{part}  {url}")


def table(*columns: str, rows: list[list[str]], empty: str) -> None:
    """Print a table, or a sentence when there is nothing in it."""
    if not rows:
        stdout.print(empty)
        return
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")  # an id that was cut is of no use
    for row in rows:
        grid.add_row(*map(escape, row))  # a calendar may be called “[red]”
    stdout.print(grid)


def fail(code: str, detail: str, *, as_json: bool) -> NoReturn:
    """Print why the command was refused and leave with exit code 1."""
    if as_json:
        sys.stdout.write(json.dumps({"error": {"code": code, "detail": detail}}) + "\n")
    stderr.print(f"[red]{code}[/red]: {escape(detail)}", markup=True)
    raise typer.Exit(REFUSED)


@contextmanager
def refusals(*, as_json: bool) -> Iterator[None]:
    """Turn the errors a person can act on into a message and exit code 1."""
    try:
        yield
    except GatewayError as error:
        fail(error.code, error.detail, as_json=as_json)
    except (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError) as error:
        fail("file-problem", str(error), as_json=as_json)
    except ValueError as error:
        fail("invalid-value", _first_line(error), as_json=as_json)
    except OSError as error:
        fail("system-refused", str(error), as_json=as_json)


def _first_line(error: ValueError) -> str:
    problems = getattr(error, "errors", None)
    if callable(problems):  # pydantic: name the fields, never the values
        return "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems())
    return str(error)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, frozenset | set | tuple):
        return sorted(value)
    return str(value)
