"""Alembic environment: one transaction for all steps, on the engine the store hands in."""

from alembic import context

from gateway.store import booking_tables

engine = context.config.attributes["engine"]

with engine.connect().execution_options(gateway_write=True) as connection:
    context.configure(
        connection=connection,
        target_metadata=booking_tables.holds.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with connection.begin():
        if connection.dialect.name == "postgresql":
            # Several processes may start at once: one migrates, the others wait and find it done.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4791)")
        context.run_migrations()
