"""The setting ``database_url``: what it may say, and which driver reads it."""

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from gateway.core.errors import StoreError

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",  # as hosts of databases like to write it
}


def parse_database_url(url: str) -> URL:
    """Read the setting; raises :class:`StoreError` for what the gateway does not speak.

    The URL itself is never quoted: there may be a password in it.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a plain ValueError
        raise _unusable(
            "is no URL; write postgresql://user@host/name, or leave it empty for SQLite in the"
            " data folder"
        ) from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise _unusable(
            f"begins with {parsed.drivername}:, which the gateway does not speak; use"
            " postgresql:// or sqlite:///"
        )
    if driver == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise _unusable(
            "names no file; write sqlite:////folder/gateway.sqlite3, or leave it empty for SQLite"
            " in the data folder"
        )
    return parsed.set(drivername=driver)


def database_exists(url: str) -> bool:
    """Tell whether there may be a database at the URL: a file for SQLite, for others always."""
    parsed = parse_database_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


def _unusable(why: str) -> StoreError:
    return StoreError(f"The setting database_url {why}.", code="database-url-unusable")
