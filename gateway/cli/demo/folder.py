"""The folder of a demo: one it made itself, marked as such, and nobody else's (R46).

A demo that is kept (``--data``) remembers there what it made and printed, and goes on with it. An
interrupted start is gone on with, too: nothing in the folder is ever deleted.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.cli.commands.setup import initialise, now_s
from gateway.core.errors import Refused, StateConflict
from gateway.services.access.keys import create_admin_key
from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.store.schema import migrate

MARKER = ".gateway-demo"
_MARK = "`gateway demo` made this folder and may change everything in it.\n"
_MEMORY = "demo.json"


def forget_settings() -> None:
    """Take every setting of a real gateway out of this process, and so out of its children."""
    for name in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        del os.environ[name]


class DemoFolder:
    """An open folder of a demo; :attr:`memory` is what :meth:`save` keeps, secrets included."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / _MEMORY
        self.memory: dict[str, Any] = {"people": {}}
        if self._file.exists():
            self.memory = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            found["people"].items()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _not_a_demo(self.path, f"has a {_MEMORY} that no demo wrote") from None
        return found

    @property
    def lookalike(self) -> Path:
        """Where the look-alike keeps its world."""
        return self.path / "lookalike.json"

    def save(self) -> None:
        """Write what is remembered, mode 0600, whole or not at all."""
        descriptor, temporary = tempfile.mkstemp(dir=self.path)  # created with mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self.memory, file)
        Path(temporary).replace(self._file)

    def person(self, email: str) -> dict[str, Any]:
        """Return what is remembered of a person, to be changed in place."""
        found: dict[str, Any] = self.memory["people"].setdefault(email, {})
        return found

    def admin_key(self) -> str:
        """Return the admin key: the remembered one, else one of a new or interrupted start."""
        settings = Settings(data_dir=self.path)
        if "admin_key" in self.memory:
            database = Database(settings.database)
            try:
                migrate(database)  # a kept demo may be older than this program
            finally:
                database.close()
        else:
            self.memory["admin_key"] = _first_key(settings)
            self.save()
        return str(self.memory["admin_key"])


def _first_key(settings: Settings) -> str:
    try:
        return initialise(settings).admin_key
    except StateConflict:  # an interrupted start had made one already, and told nobody
        database = Database(settings.database)
        try:
            with database.write() as session:
                return create_admin_key(session, name="demo", now=now_s())
        finally:
            database.close()


@contextmanager
def demo_folder(wanted: Path | None) -> Iterator[DemoFolder]:
    """Open the folder of a demo, a temporary one when none is wanted.

    Raises :class:`Refused` ``not-a-demo`` for a folder that holds anything a demo did not make, and
    ``demo-running`` while another demo has it. Nothing is written then.
    """
    if wanted is None:
        path = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
        try:
            _mark(path)
            with _locked(path):
                yield DemoFolder(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
        return
    path = wanted.absolute()
    _check(path)
    if not (path / MARKER).exists():
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _mark(path)
    with _locked(path):
        yield DemoFolder(path)


def _check(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise _not_a_demo(path, "is no folder")
    inside = list(path.iterdir())
    if not inside:
        return
    marker = path / MARKER
    if marker not in inside or marker.is_symlink() or not marker.is_file():
        raise _not_a_demo(path, "holds something that no demo made")
    if marker.read_bytes() != _MARK.encode():
        raise _not_a_demo(path, f"has a {MARKER} that no demo wrote")
    if linked := [one.name for one in inside if one.is_symlink()]:
        raise _not_a_demo(path, f"has {linked[0]}, which leads out of it")


def _not_a_demo(path: Path, why: str) -> Refused:
    return Refused(
        f"{path} {why}; give --data a new or empty folder, or one that a demo made.",
        code="not-a-demo",
    )


def _mark(path: Path) -> None:
    descriptor = os.open(path / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_MARK)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with (path / MARKER).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"Another demo runs in {path}; end it, or name another folder.", code="demo-running"
            ) from None
        yield
