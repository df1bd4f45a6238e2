"""An older, newer, edited or foreign schema is told apart, and nothing is written (R45)."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from gateway.core.errors import SchemaMismatch
from gateway.store.access.principals import create_subaccount, list_subaccounts
from gateway.store.engine import Database
from gateway.store.schema import find_schema_problem, head_revision, migrate
from gateway.store.structure import read_structure

MIGRATIONS = Path(__file__).parents[2] / "gateway" / "store" / "migrations"

EDITS = {
    "a table is missing": ("DROP TABLE rate_counts", "lacks the table rate_counts"),
    "a column is missing": (
        "ALTER TABLE objects DROP COLUMN problem_detail",
        "lacks the column objects.problem_detail",
    ),
    "a column is more": (
        "ALTER TABLE principals ADD COLUMN nick TEXT",
        "has a column principals.nick",
    ),
    "a column has another name": (
        "ALTER TABLE holds RENAME COLUMN expires_at TO ends_at",
        "lacks the column holds.expires_at",
    ),
    "an index is missing": ("DROP INDEX ix_instances_busy", "lacks the index of instances"),
    "a trigger is missing": (
        "DROP TRIGGER signal_holds_insert {on}",
        "trigger signal_holds_insert",
    ),
    "the version is missing": ("DELETE FROM alembic_version", "names 0 schema versions"),
}


def edit(database: Database, statement: str) -> None:
    """Change the schema by hand."""
    on = "" if database.is_sqlite else "ON holds"
    with database.write() as session:
        session.exec_driver_sql(statement.format(on=on))


@pytest.mark.rule("R45")
@pytest.mark.parametrize("case", EDITS)
def test_an_edited_schema_is_found(database: Database, case: str) -> None:
    statement, said = EDITS[case]
    edit(database, statement)
    problem = find_schema_problem(database)
    assert problem is not None
    assert (problem.code, said in problem.detail) == ("schema-edited", True), problem.detail
    with pytest.raises(SchemaMismatch, match="restore a backup"):
        migrate(database)


@pytest.mark.rule("R45")
def test_another_type_is_found(postgresql_database: Database) -> None:
    edit(postgresql_database, "ALTER TABLE appointments ALTER COLUMN start TYPE integer")
    problem = find_schema_problem(postgresql_database)
    assert problem is not None
    assert "appointments.start as integer not null instead of bigint not null" in problem.detail


@pytest.mark.rule("R45")
@pytest.mark.parametrize(
    ("code", "damage"),
    [
        ("schema-newer", lambda d: edit(d, "UPDATE alembic_version SET version_num = '9999'")),
        ("schema-outdated", lambda d: downgrade(d, "0001")),
    ],
)
def test_an_older_and_a_newer_schema_are_told_apart(
    database: Database, code: str, damage: Callable[[Database], None]
) -> None:
    damage(database)
    problem = find_schema_problem(database)
    assert problem is not None
    assert problem.code == code
    if code == "schema-outdated":
        assert "gateway migrate" in problem.detail
        assert migrate(database) == head_revision()
        assert find_schema_problem(database) is None
    else:
        with pytest.raises(SchemaMismatch):
            migrate(database)


@pytest.mark.rule("R45")
def test_an_older_schema_that_was_edited_is_left_as_it_is(database: Database) -> None:
    """What the migrations would make of it is looked at before it is committed."""
    downgrade(database, "0001")
    edit(database, "ALTER TABLE objects DROP COLUMN problem_detail")
    with database.read() as session:
        before = read_structure(session)
    with pytest.raises(SchemaMismatch, match=r"lacks the column objects\.problem_detail"):
        migrate(database)
    with database.read() as session:
        assert read_structure(session) == before
        version = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    assert version == "0001"


@pytest.mark.rule("R45")
def test_a_step_that_fails_on_an_edited_schema_is_told(database: Database) -> None:
    downgrade(database, "0002")
    edit(database, "DROP TABLE objects" + ("" if database.is_sqlite else " CASCADE"))
    with pytest.raises(SchemaMismatch, match="objects") as failed:
        migrate(database)
    assert failed.value.code == "schema-edited"


@pytest.mark.rule("R45", "R46")
def test_tables_of_something_else_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    other = Database(f"sqlite:///{path}")
    edit(other, "CREATE TABLE alembic_version (version_num TEXT)")
    edit(other, "INSERT INTO alembic_version VALUES ('0001')")
    edit(other, "CREATE TABLE wiki (page TEXT)")
    other.close()
    before = path.read_bytes()
    again = Database(f"sqlite:///{path}")
    with pytest.raises(SchemaMismatch, match="something else") as found:
        migrate(again)
    again.close()
    assert (found.value.code, path.read_bytes()) == ("schema-foreign", before)


@pytest.mark.rule("R45")
def test_not_even_the_journal_of_a_foreign_file_is_changed(tmp_path: Path) -> None:

    path = tmp_path / "other.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE wiki (page TEXT)")
    connection.close()
    before = path.read_bytes()
    database = Database(f"sqlite:///{path}")
    problem = find_schema_problem(database)
    database.close()
    assert problem is not None
    assert (problem.code, path.read_bytes()) == ("schema-foreign", before)
    assert [one.name for one in tmp_path.iterdir()] == ["other.sqlite3"]


def test_a_migration_that_rebuilds_a_table_keeps_what_refers_to_it(
    sqlite_database: Database, tmp_path: Path
) -> None:
    """SQLite rebuilds by dropping, and a drop would erase all that refers to the table."""
    with sqlite_database.write() as session:
        create_subaccount(session, name="A", now=1)
        session.execute(
            text(
                "INSERT INTO principals (id, subaccount_id, name, time_zone, created_at)"
                " SELECT 'p_1', id, 'Ann', 'UTC', 1 FROM subaccounts"
            )
        )
    run_migration(
        sqlite_database,
        tmp_path,
        'with op.batch_alter_table("subaccounts", recreate="always") as batch:\n'
        '        batch.alter_column("name", nullable=True)',
    )
    with sqlite_database.read() as session:
        assert [one.name for one in list_subaccounts(session)] == ["A"]
        assert session.execute(text("SELECT count(*) FROM principals")).scalar() == 1
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1


def downgrade(database: Database, revision: str) -> None:
    """Bring the database back to an older schema."""
    command.downgrade(_config(database, MIGRATIONS), revision)


def run_migration(database: Database, folder: Path, body: str) -> None:
    """Run one more migration, from a copy of the folder."""

    copy = folder / "migrations"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "9999_try.py").write_text(
        f'from alembic import op\nrevision = "9999"\ndown_revision = "{head_revision()}"\n\n\n'
        f"def upgrade() -> None:\n    {body}\n"
    )
    command.upgrade(_config(database, copy), "head")


def _config(database: Database, folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["engine"] = database.engine
    return config
