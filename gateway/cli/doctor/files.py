"""What ``gateway doctor`` finds on the disk: files of the store that others may open."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.settings import Settings
from gateway.store.engine import Database

_OTHERS, _OTHERS_WRITE = 0o007, 0o002
BESIDE = ("", "-wal", "-shm", "-journal")
"""SQLite's files beside the database hold parts of it."""


class OpenFile(NamedTuple):
    """One finding; ``what`` is a stable code, ``where`` a path."""

    what: str
    where: str
    detail: str


def open_files(settings: Settings, database: Database) -> Iterator[OpenFile]:
    """Yield what everybody on this machine may read or change; a group is somebody's choice."""
    if database.is_sqlite:
        path = database.name
        yield from _found([Path(path + end) for end in BESIDE], _OTHERS, "chmod o=")
        yield from _found([Path(path).parent], _OTHERS_WRITE, "chmod o-w")
    yield from _found([settings.keyring], _OTHERS, "chmod 600")


def _found(paths: list[Path], bits: int, command: str) -> Iterator[OpenFile]:
    for path in paths:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0
        if mode & bits:
            detail = f"everybody on this machine may open it (mode {mode:04o}); {command} {path}"
            yield OpenFile("file-open-to-others", str(path), detail)
