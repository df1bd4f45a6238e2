"""Alembic environment: one transaction for all steps, on the engine the store hands in.

The result is looked at before the transaction ends. SQLite rebuilds a table by dropping it, and a
drop deletes what refers to it: foreign keys are not followed meanwhile, and checked at the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from sqlalchemy import Connection

from gateway.store.structure import metadata

engine = context.config.attributes["engine"]


@contextmanager
def unfollowed_foreign_keys(connection: Connection) -> Iterator[None]:
    """Switch SQLite's foreign keys off around the transaction, and see that all still hold."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def check_foreign_keys(connection: Connection) -> None:
    """Raise when a row refers to one that is gone."""
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise ValueError(f"a migration left rows of {broken[0]} without their {broken[2]}")


with (
    engine.connect().execution_options(gateway_write=True) as connection,
    unfollowed_foreign_keys(connection),
):
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with connection.begin():
        if connection.dialect.name == "postgresql":
            # Several processes may start at once: one migrates, the others wait and find it done.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4791)")
        context.run_migrations()
        check_foreign_keys(connection)
        verify = context.config.attributes.get("verify")
        if verify is not None:
            verify(connection)
