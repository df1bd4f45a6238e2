"""Options that several commands share, and how they open the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.core.errors import StoreError
from gateway.observe import set_up_logging
from gateway.settings import Settings, load_settings
from gateway.store.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import is_current

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (TOML); GATEWAY_… variables win over it."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder; wins over the settings.")
]


CaldavBind = Annotated[str | None, typer.Option("--caldav-bind", help="host:port of CalDAV.")]


@dataclass(frozen=True)
class Opened:
    """An opened installation; ``keyring`` only where the command asked for the key."""

    settings: Settings
    database: Database
    keyring: Keyring | None

    @property
    def key(self) -> Keyring:
        """The keyring, for commands that need it."""
        if self.keyring is None:
            raise StoreError("This command was started without the key.", code="no-key")
        return self.keyring


def read_settings(config: Path | None, data: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings and set up logging; ``data`` is the ``--data`` option."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if data is not None:
        given["data_dir"] = data
    settings = load_settings(config, **given)
    set_up_logging(level=settings.log_level, style=settings.log_format)
    return settings


@contextmanager
def opened(settings: Settings, *, with_key: bool = True) -> Iterator[Opened]:
    """Open the store of an initialised installation; a clear error when it is not."""
    database = Database(settings.database) if _exists(settings) else None
    if database is None or not is_current(database):
        if database is not None:
            database.close()
        raise StoreError(
            "There is no up-to-date gateway here; run `gateway init` (new) or `gateway migrate`.",
            code="not-initialised",
        )
    try:
        keyring = Keyring.load(settings.keyring) if with_key else None
        yield Opened(settings, database, keyring)
    finally:
        database.close()


def _exists(settings: Settings) -> bool:
    if settings.database_url and not settings.database_url.startswith("sqlite"):
        return True
    return Path(settings.database.removeprefix("sqlite:///")).exists()
