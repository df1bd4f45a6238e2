"""Options that several commands share, and how they open the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.core.errors import SchemaMismatch, StoreError
from gateway.observe import set_up_logging
from gateway.settings import Settings, load_settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.accounts.key_checks import bind_keyring
from gateway.store.engine import Database
from gateway.store.schema import check_schema
from gateway.store.urls import database_exists

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
    """Open the store of an initialised installation, and see that all belongs together (R45).

    Raises :class:`StoreError` with what to do when there is none, when its schema is not what this
    program needs, or when the key file is not its own. Nothing is written then.
    """
    with opened_database(settings) as database:
        check_schema(database)
        keyring = Keyring.load(settings.keyring) if with_key else None
        if keyring is not None:
            bind_keyring(database, keyring)
        yield Opened(settings, database, keyring)


@contextmanager
def opened_database(settings: Settings) -> Iterator[Database]:
    """Open the database as it is; raises :class:`StoreError` when there is none."""
    if not database_exists(settings.database):
        raise SchemaMismatch(
            f"There is no gateway at {settings.data_dir}; name its folder in data_dir or --data, or"
            " make a new one with `gateway init`.",
            code="not-initialised",
        )
    database = Database(settings.database)
    try:
        yield database
    finally:
        database.close()
