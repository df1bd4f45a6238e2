"""What commands print: text for people, one JSON document with ``--json``, errors on stderr."""

import errno
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.core.errors import GatewayError, StoreError

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
    """Turn the errors a person can act on into a sentence and exit code 1."""
    try:
        yield
    except StoreError as error:  # whoever is at the machine sees the cause, too
        cause = f" ({error.cause})" if error.cause else ""
        fail(error.code, error.detail + cause, as_json=as_json)
    except GatewayError as error:
        fail(error.code, error.detail, as_json=as_json)
    except ValueError as error:
        fail("invalid-value", _first_line(error), as_json=as_json)
    except OSError as error:
        fail(*describe_os_error(error), as_json=as_json)


_OS_ERRORS: Mapping[int, tuple[str, str]] = {
    errno.ENOENT: ("file-problem", "There is nothing at {name}; check the path."),
    errno.ENOTDIR: ("file-problem", "{name} is below something that is no folder; check the path."),
    errno.EISDIR: ("file-problem", "{name} is a folder, not a file; check the path."),
    errno.EEXIST: ("file-problem", "{name} is there already; name another place."),
    errno.EACCES: (
        "file-problem",
        "This user may not use {name}; give it to them, or use sudo -u.",
    ),
    errno.EPERM: ("file-problem", "This user may not use {name}; give it to them, or use sudo -u."),
    errno.EROFS: ("file-problem", "{name} is on a disk that is read-only; name another place."),
    errno.ENOSPC: ("disk-full", "No space is left for {name}; free some on its disk."),
    errno.EDQUOT: ("disk-full", "The quota of this user leaves no space for {name}; raise it."),
    errno.EADDRINUSE: ("address-taken", "The address is taken by another program; name another."),
}


def describe_os_error(error: OSError) -> tuple[str, str]:
    """Return a stable code and a sentence that names the thing and the next step."""
    name = error.filename if isinstance(error.filename, str | Path) else "a file"
    if error.errno is None:  # one of ours: a sentence already
        return "file-problem", str(error)
    if error.errno in _OS_ERRORS:
        code, sentence = _OS_ERRORS[error.errno]
        return code, sentence.format(name=name)
    reason = error.strerror or str(error)
    about = f"{name}: {reason}" if error.filename else reason
    return "system-refused", f"The system refused: {about}."


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
