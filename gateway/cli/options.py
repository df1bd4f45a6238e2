"""Options that several commands share, and how they open the store."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from gateway.core.errors import InvalidInput, StoreError
from gateway.core.intervals import Interval
from gateway.observe import set_up_logging
from gateway.settings import Settings, load_settings
from gateway.store.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import is_current

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (TOML); GATEWAY_… variables win over it."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder; wins over the settings.")
]


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


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA zone; raises :class:`InvalidInput` for any other name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"“{name}” is not an IANA time zone.", code="unknown-time-zone"
        ) from None


def parse_time(text: str, zone: ZoneInfo) -> int:
    """Read a time given by a person as UTC epoch seconds; without offset it is in ``zone``.

    Also takes a plain date (its midnight). Raises :class:`InvalidInput`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"“{text}” is not a time like 2026-11-30T09:00 or a date.", code="invalid-time"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())


def parse_window(start: str | None, end: str | None, days: int, zone: ZoneInfo) -> Interval:
    """Return the window asked for; by default ``days`` days from now on.

    Raises :class:`InvalidInput` when it ends before it starts.
    """
    first = parse_time(start, zone) if start else int(time.time()) // 60 * 60
    last = parse_time(end, zone) if end else first + days * 86_400
    if last <= first:
        raise InvalidInput("The end must lie after the start.", code="window-reversed")
    return first, last


def render_time(epoch: int, zone: ZoneInfo) -> str:
    """Write epoch seconds as RFC 3339 with the zone's offset."""
    return datetime.fromtimestamp(epoch, zone).isoformat()
