"""The migrations make exactly the tables the code uses, on both databases."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import ProgrammingError

from gateway.store import booking_tables
from gateway.store.engine import Database
from gateway.store.schema import current_revision, head_revision, is_current, migrate

metadata = booking_tables.holds.metadata
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


def test_the_role_of_the_caldav_process_cannot_read_secrets(
    postgresql_database: Database, postgresql_url: str
) -> None:
    """What docker/roles.sh sets up: default privileges, and `secrets` taken back by migrate."""
    role = "caldav_" + uuid4().hex[:8]
    with postgresql_database.write() as session:
        session.exec_driver_sql(f"CREATE ROLE {role}")
        session.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
        session.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    migrate(postgresql_database)
    with postgresql_database.read() as session:
        session.exec_driver_sql(f"SET ROLE {role}")
        assert session.exec_driver_sql("SELECT count(*) FROM objects").scalar() == 0
        with pytest.raises(ProgrammingError, match="permission denied for table secrets"):
            session.exec_driver_sql("SELECT * FROM secrets")
        session.rollback()
        session.exec_driver_sql("RESET ROLE")
    with postgresql_database.write() as session:
        session.exec_driver_sql(f"DROP OWNED BY {role}")
        session.exec_driver_sql(f"DROP ROLE {role}")


def test_every_table_is_explained() -> None:
    headings = re.findall(r"^### `(\w+)`", (DOCS / "schema.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(metadata.tables)
