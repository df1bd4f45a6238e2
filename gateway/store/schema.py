"""Bring a database to the current schema, and say whether it is there (R45)."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.core.errors import SchemaMismatch
from gateway.store.engine import Database, Session
from gateway.store.structure import Structure, differences, expected_structure, read_structure

_MIGRATIONS = Path(__file__).parent / "migrations"
_OWN = frozenset({"subaccounts", "principals"})
"""Tables of the first migration: a database without any of them is somebody else's."""
_VERSION_TABLE = "alembic_version"
_SHOWN = 3
_PRIVATE_TABLES = ("secrets", "key_checks")


def migrate(database: Database) -> str:
    """Run the migrations that are missing; returns the revision reached. Safe to repeat.

    All steps are one transaction, which ends only when the result is what this program needs.
    Raises :class:`SchemaMismatch` for a database that is newer, edited or not ours; nothing is
    written then.
    """
    problem = find_schema_problem(database)
    if problem is not None and problem.code not in ("not-initialised", "schema-outdated"):
        raise problem
    if problem is not None:
        config = _config(database)
        config.attributes["verify"] = _check_migrated
        with database.translated():
            _upgrade(config)
    _protect_secrets(database)
    return head_revision()


def _upgrade(config: Config) -> None:
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        if "no such" in str(error.orig) or "does not exist" in str(error.orig):
            raise _edited([f"cannot be migrated: {error.orig}"]) from error
        raise


def check_schema(database: Database) -> None:
    """Raise :class:`SchemaMismatch` unless the database is what this program needs.

    Codes: ``not-initialised``, ``schema-outdated``, ``schema-newer``, ``schema-edited`` and
    ``schema-foreign``. Nothing is written.
    """
    problem = find_schema_problem(database)
    if problem is not None:
        raise problem


def find_schema_problem(database: Database) -> SchemaMismatch | None:
    """Return what is wrong with the database's schema, None when it is as it should be."""
    with database.read() as session:
        found = read_structure(session)
        versions = _read_versions(session, found)
        expected = expected_structure(session.dialect)
    return _judge(found, versions, expected)


def _judge(found: Structure, versions: list[str], expected: Structure) -> SchemaMismatch | None:
    if not found.columns.keys() - {_VERSION_TABLE} and not versions:
        return SchemaMismatch(
            "There is no gateway in this database yet; run `gateway init`.", code="not-initialised"
        )
    if not found.columns.keys() & _OWN:
        return SchemaMismatch(
            "This database holds the tables of something else; name an empty one in database_url.",
            code="schema-foreign",
        )
    if len(versions) != 1:
        return _edited([f"names {len(versions)} schema versions instead of one"])
    (version,) = versions
    if version not in _revisions():
        return SchemaMismatch(
            f"The database has schema {version}, which a newer gateway made; start that version, or"
            f" restore a backup that this one (schema {head_revision()}) can read.",
            code="schema-newer",
        )
    if version != head_revision():
        return SchemaMismatch(
            f"The database has schema {version} and this gateway needs {head_revision()};"
            " make a backup and run `gateway migrate`.",
            code="schema-outdated",
        )
    different = differences(expected, found)
    return _edited(different) if different else None


def _edited(different: list[str]) -> SchemaMismatch:
    more = len(different) - _SHOWN
    shown = ", ".join(different[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return SchemaMismatch(
        f"The database is not what the migrations of this gateway make: it {shown};"
        " restore a backup, or start the version that made it.",
        code="schema-edited",
    )


def _check_migrated(session: Session) -> None:
    """Look at the result before it is committed."""
    different = differences(expected_structure(session.dialect), read_structure(session))
    if different:
        raise _edited(different)


def _read_versions(session: Session, found: Structure) -> list[str]:
    if _VERSION_TABLE not in found.columns:
        return []
    return list(session.execute(text("SELECT version_num FROM alembic_version")).scalars())


def _config(database: Database | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["engine"] = None if database is None else database.engine
    return config


def head_revision() -> str:
    """Return the revision this version of the program needs."""
    return _revisions()[0]


@cache
def _revisions() -> tuple[str, ...]:
    """Return the revisions this program knows, the newest first."""
    directory = ScriptDirectory.from_config(_config())
    return tuple(script.revision for script in directory.walk_revisions())


def _protect_secrets(database: Database) -> None:
    """On PostgreSQL take every right on what belongs to the key from every role but the owner.

    The role of the CalDAV process usually gets rights on new tables by default privileges.
    """
    if database.is_sqlite:
        return
    with database.write() as session:
        for table in _PRIVATE_TABLES:
            grantees = session.execute(
                text(
                    "SELECT DISTINCT grantee FROM information_schema.role_table_grants"
                    " WHERE table_name = :table AND grantee <> current_user"
                ),
                {"table": table},
            ).scalars()
            for grantee in grantees.all():
                name = grantee if grantee == "PUBLIC" else '"' + grantee.replace('"', '""') + '"'
                session.exec_driver_sql(f"REVOKE ALL ON {table} FROM {name}")
