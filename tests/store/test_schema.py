"""The migrations make exactly the tables the code uses, on both databases."""

import re
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import ProgrammingError

from gateway.core.errors import SchemaMismatch
from gateway.store.engine import Database
from gateway.store.objects.objects import upstream_etags
from gateway.store.schema import _config, check_schema, find_schema_problem, head_revision, migrate
from gateway.store.structure import differences, expected_structure, metadata, read_structure

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
VERSIONS = ROOT / "gateway" / "store" / "migrations" / "versions"
FROZEN = {
    "0001_first_schema.py": "eea31fd5233978ac",
    "0002_change_signals.py": "23f9d4eae13ac4eb",
    "0003_objects_without_start.py": "813568550a5035bb",
}


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.read() as session:
        difference = compare_metadata(MigrationContext.configure(session), metadata)
    assert difference == []


def test_migrate_is_repeatable(database: Database) -> None:
    assert find_schema_problem(database) is None
    assert migrate(database) == head_revision()


def test_the_first_migrations_are_frozen() -> None:
    """Databases were made with them: a change of the schema is a new migration."""
    found = {
        path.name: sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(VERSIONS.glob("000[1-3]_*.py"))
    }
    assert found == FROZEN


def test_an_empty_database_is_not_current(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'new' / 'empty.sqlite3'}")
    with pytest.raises(SchemaMismatch, match="gateway init") as found:
        check_schema(empty)
    assert found.value.code == "not-initialised"
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
        assert differences(expected_structure(session.dialect), read_structure(session)) == []
        assert session.exec_driver_sql("SELECT count(*) FROM objects").scalar() == 0
        for table in ("secrets", "key_checks"):
            with pytest.raises(ProgrammingError, match=f"permission denied for table {table}"):
                session.exec_driver_sql(f"SELECT * FROM {table}")
            session.rollback()
            session.exec_driver_sql(f"SET ROLE {role}")
        session.exec_driver_sql("RESET ROLE")
    with postgresql_database.write() as session:
        session.exec_driver_sql(f"DROP OWNED BY {role}")
        session.exec_driver_sql(f"DROP ROLE {role}")


def test_every_table_is_explained() -> None:
    headings = re.findall(r"^### `(\w+)`", (DOCS / "schema.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(metadata.tables)


def test_unread_members_come_to_a_database_with_rows(empty_database: Database) -> None:
    """0008: calendars that are there have no unread members, and connections asked nothing yet."""
    command.upgrade(_config(empty_database), "0003")
    with empty_database.write() as session:
        for statement in _ROWS_OF_0003:
            session.exec_driver_sql(statement)
    migrate(empty_database)
    with empty_database.read() as session:
        calendar = session.exec_driver_sql(
            "SELECT name, catching_up, set_aside, retry_at FROM upstream_calendars"
        ).one()
        connection = session.exec_driver_sql(
            "SELECT state, recent_requests, wanted_until FROM connections"
        ).one()
        difference = compare_metadata(MigrationContext.configure(session), metadata)
    assert tuple(calendar) == ("Home", 0, 0, None)
    assert tuple(connection) == ("ok", None, 0)
    assert difference == []


def test_long_names_come_to_a_database_with_rows(empty_database: Database) -> None:
    """0010: what was stored keeps its name upstream."""
    command.upgrade(_config(empty_database), "0003")
    with empty_database.write() as session:
        for statement in (*_ROWS_OF_0003, *_A_MEMBER_OF_0003):
            session.exec_driver_sql(statement)
    migrate(empty_database)
    with empty_database.read() as session:
        assert upstream_etags(session, "m") == {"a b.ics": ("a.ics", '"1"')}


_A_MEMBER_OF_0003 = (
    "INSERT INTO collections (id, principal_id, name, kind, upstream_calendar_id, display_name,"
    " properties, components, transparent, incarnation, revision, valid_from_revision,"
    " created_at, updated_at) VALUES ('m', 'p', 'mirror', 'mirror', 'u', 'Home', '{}', 'VEVENT',"
    " FALSE, 'i', 1, 0, 1, 1)",
    "INSERT INTO objects (id, principal_id, collection_id, name, uid, kind, component, etag, body,"
    " size, revision, served, upstream_name, upstream_etag, recurring, open_ended, zone_dependent,"
    " expanded_from, expanded_until, created_at, updated_at) VALUES ('o', 'p', 'm', 'a.ics', 'a',"
    " 'mirrored', 'VEVENT', 'e', 'x', 1, 1, TRUE, 'a b.ics', '\"1\"', FALSE, FALSE, FALSE, 0, 0,"
    " 1, 1)",
)
_ROWS_OF_0003 = (
    "INSERT INTO subaccounts (id, name, created_at) VALUES ('s', 'Acme', 1)",
    "INSERT INTO principals (id, subaccount_id, name, time_zone, created_at)"
    " VALUES ('p', 's', 'Robin', 'UTC', 1)",
    "INSERT INTO connections (id, principal_id, state, addresses, trust_for_s, created_at,"
    " next_sync_at, active_until, lease_until, failures, probes_left)"
    " VALUES ('c', 'p', 'ok', '[]', 86400, 1, 0, 0, 0, 0, 0)",
    "INSERT INTO upstream_calendars (id, connection_id, path, name, kind, writable, transparent,"
    " role, blocks, all_day_blocks, detail, state, progress_done)"
    " VALUES ('u', 'c', '/1/home/', 'Home', 'calendar', TRUE, FALSE, 'linked', TRUE, FALSE,"
    " 'full', 'ok', 0)",
)
