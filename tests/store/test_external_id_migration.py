"""The migration that makes external ids unique keeps the appointments, on both databases."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy
from alembic import command

from gateway.store.engine import Database
from gateway.store.schema import _config
from tests.conftest import _administer, _with_name


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any schema."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
        yield database
        database.close()
        return
    server = request.getfixturevalue("postgresql_url")
    name = f"test_{uuid4().hex[:12]}"
    _administer(server, f'CREATE DATABASE "{name}"')
    database = Database(_with_name(server, name))
    yield database
    database.close()
    _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def insert(database: Database, table: str, **values: object) -> None:
    """Insert a row as it was when the migration came."""
    columns = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    statement = sqlalchemy.text(f"INSERT INTO {table} ({columns}) VALUES ({marks})")
    with database.write() as session:
        session.execute(statement, values)


@pytest.mark.rule("R35")
def test_of_appointments_that_shared_an_external_id_the_first_keeps_it(empty: Database) -> None:
    command.upgrade(_config(empty), "0006")
    for subaccount in ("acme", "bolt"):
        insert(empty, "subaccounts", id=subaccount, name=subaccount, created_at=1)
        person = {"name": "x", "time_zone": "UTC", "created_at": 1}
        insert(empty, "principals", id=f"p-{subaccount}", subaccount_id=subaccount, **person)
    common = {"title": "x", "start": 1, "end": 2, "status": "confirmed", "updated_at": 1}
    for identity, owner, external_id, created_at in (
        ("b", "p-acme", "deal-1", 20),
        ("a", "p-acme", "deal-1", 30),
        ("c", "p-bolt", "deal-1", 40),
        ("d", "p-acme", None, 50),
    ):
        values = {"id": identity, "principal_id": owner, "external_id": external_id}
        insert(empty, "appointments", **values, created_at=created_at, **common)
    command.upgrade(_config(empty), "head")
    with empty.read() as session:
        kept = session.execute(
            sqlalchemy.text(
                "SELECT subaccount_id, external_id, appointment_id FROM appointment_external_ids"
            )
        ).all()
        shown = session.execute(sqlalchemy.text("SELECT id, external_id FROM appointments")).all()
    assert set(map(tuple, kept)) == {("acme", "deal-1", "b"), ("bolt", "deal-1", "c")}
    assert dict(map(tuple, shown)) == {"a": "deal-1", "b": "deal-1", "c": "deal-1", "d": None}
