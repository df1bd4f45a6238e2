"""What the databases' own errors become: a stable code, a sentence, and the cause kept apart."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event, text

from gateway.core.errors import StoreBusy, StoreError
from gateway.store.access.principals import create_subaccount, list_subaccounts
from gateway.store.engine import Database
from gateway.store.schema import check_schema
from gateway.store.urls import database_exists, parse_database_url


def pragma(statement: str) -> Callable[[Database], None]:
    """Return what runs a statement on every connection from now on."""

    def spoil(database: Database) -> None:
        database.close()

        @event.listens_for(database.engine, "connect")
        def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute(statement)

    return spoil


def path_of(database: Database) -> Path:
    """Return the file of a SQLite database."""
    return Path(database.url.database or "")


def closed_file(change: Callable[[Path], object]) -> Callable[[Database], None]:
    """Return what changes the file while nobody has it open."""

    def spoil(database: Database) -> None:
        database.close()
        change(path_of(database))

    return spoil


def damage_pages(path: Path) -> None:
    """Overwrite all but the first page."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    path.write_bytes(content)


def replace_by_folder(path: Path) -> None:
    """Put a folder where the file was."""
    path.unlink()
    path.mkdir()


BROKEN: dict[str, tuple[str, Callable[[Database], None]]] = {
    "disk full": ("store-full", pragma("PRAGMA max_page_count=1")),
    "read-only": ("store-read-only", pragma("PRAGMA query_only=ON")),
    "no database": ("store-corrupt", closed_file(lambda path: path.write_bytes(b"junk" * 4096))),
    "damaged": ("store-corrupt", closed_file(damage_pages)),
    "a folder": ("store-unopenable", closed_file(replace_by_folder)),
    "no table": ("schema-edited", pragma("DROP TABLE IF EXISTS subaccounts")),
}


def fill(database: Database) -> None:
    """Write more than fits on the pages there are."""
    with database.write() as session:
        for number in range(200):
            create_subaccount(session, name="x" * 500, now=number)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_sqlite_says_what_to_do(sqlite_database: Database, case: str) -> None:
    code, spoil = BROKEN[case]
    spoil(sqlite_database)
    with pytest.raises(StoreError) as told:
        fill(sqlite_database)
    assert told.value.code == code
    assert str(path_of(sqlite_database)) in told.value.cause
    assert str(path_of(sqlite_database)) not in told.value.detail
    assert told.value.detail.count(".") <= 3  # one sentence


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://admin:secret@db/x", "mysql:"),
        ("postgresql+asyncpg://admin:secret@db/x", "postgresql+asyncpg:"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("not a url:secret", "no URL"),
        ("postgresql://admin:secret@db:port/x", "no URL"),
    ],
)
def test_a_database_that_is_not_spoken_is_named(url: str, says: str) -> None:
    for use in (Database, database_exists):
        with pytest.raises(StoreError, match=re.escape(says)) as told:
            use(url)
        assert told.value.code == "database-url-unusable"
        assert "secret" not in told.value.detail


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_spellings_of_postgresql(scheme: str) -> None:
    assert parse_database_url(f"{scheme}://a@b/c").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9", "[::1]:9", "nowhere.invalid"], ids=["refused", "v6", "unknown"]
)
def test_a_postgresql_that_does_not_answer_is_busy_not_broken(host: str) -> None:
    database = Database(f"postgresql://ann:secret@{host}/x?connect_timeout=5")
    with pytest.raises(StoreBusy) as told:
        check_schema(database)
    database.close()
    assert (told.value.code, told.value.retryable) == ("store-unreachable", True)
    assert "secret" not in told.value.cause
    assert host in told.value.cause


def test_a_postgresql_without_the_database_or_the_column(postgresql_database: Database) -> None:
    url = postgresql_database.url.set(database="nobody_made_this")
    missing = Database(url.render_as_string(hide_password=False))
    with pytest.raises(StoreBusy, match="database_url") as told:
        check_schema(missing)
    missing.close()
    assert "nobody_made_this" in told.value.cause
    with postgresql_database.write() as session:
        session.execute(text("ALTER TABLE subaccounts DROP COLUMN external_id"))
    with pytest.raises(StoreError) as told_column, postgresql_database.read() as session:
        list_subaccounts(session)
    assert told_column.value.code == "schema-edited"
    assert "external_id" in told_column.value.cause
