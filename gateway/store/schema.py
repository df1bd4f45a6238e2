"""Bring a database to the current schema, and say whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.store.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["engine"] = database.engine
    return config


def migrate(database: Database) -> str:
    """Run the migrations that are missing; returns the revision reached. Safe to repeat."""
    command.upgrade(_config(database), "head")
    _protect_secrets(database)
    return head_revision(database)


def head_revision(database: Database) -> str:
    """Return the revision this version of the program needs."""
    head = ScriptDirectory.from_config(_config(database)).get_current_head()
    return head or ""


def current_revision(database: Database) -> str | None:
    """Return the revision the database has, None when it was never migrated."""
    with database.read() as session:
        return MigrationContext.configure(session).get_current_revision()


def is_current(database: Database) -> bool:
    """Tell whether the database has the schema this version needs."""
    return current_revision(database) == head_revision(database)


def _protect_secrets(database: Database) -> None:
    """On PostgreSQL take every right on ``secrets`` from every role but the table's owner.

    The role of the CalDAV process usually gets rights on new tables by default privileges.
    """
    if database.is_sqlite:
        return
    with database.write() as session:
        grantees = session.exec_driver_sql(
            "SELECT DISTINCT grantee FROM information_schema.role_table_grants"
            " WHERE table_name = 'secrets' AND grantee <> current_user"
        ).scalars()
        for grantee in grantees.all():
            name = grantee if grantee == "PUBLIC" else '"' + grantee.replace('"', '""') + '"'
            session.exec_driver_sql(f"REVOKE ALL ON secrets FROM {name}")
