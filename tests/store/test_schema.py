"""The migrations make exactly the tables the code uses, on both databases."""

import re
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from gateway.store.engine import Database
from gateway.store.schema import current_revision, head_revision, is_current, migrate
from gateway.store.tables import metadata

DOCS = Path(__file__).parents[2] / "docs"


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.read() as session:
        difference = compare_metadata(MigrationContext.configure(session), metadata)
    assert difference == []


def test_migrate_is_repeatable(database: Database) -> None:
    assert is_current(database)
    assert migrate(database) == head_revision(database) == current_revision(database)


def test_an_empty_database_is_not_current(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'new' / 'empty.sqlite3'}")
    assert current_revision(empty) is None
    assert not is_current(empty)
    assert (tmp_path / "new" / "empty.sqlite3").stat().st_mode & 0o777 == 0o600
    empty.close()


def test_every_table_is_explained() -> None:
    headings = re.findall(r"^### `(\w+)`", (DOCS / "schema.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(metadata.tables)
