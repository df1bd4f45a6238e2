"""Signals for readers that keep answers in memory: what changed beside busy time itself.

Busy time raises ``generation`` in the unit that changes it. These triggers cover the rest an answer
depends on (sources and their states, holds, keys), so that no code path can forget it: on SQLite
they raise ``source_generation``, on PostgreSQL they notify. They lock no row on PostgreSQL: a
unit may touch a calendar without holding the principal's lock.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# table, columns whose update counts, how to find the principal of a row
WATCHED = (
    ("collections", ("kind", "transparent"), "{row}.principal_id"),
    ("connections", ("state", "trust_for_s"), "{row}.principal_id"),
    ("holds", ("start", "end", "expires_at"), "{row}.principal_id"),
    ("principals", ("time_zone", "subaccount_id"), "{row}.id"),
    (
        "upstream_calendars",
        ("role", "blocks", "state", "problem", "synced_at"),
        "(SELECT principal_id FROM connections WHERE id = {row}.connection_id)",
    ),
)
EVENTS = (("insert", "NEW"), ("delete", "OLD"), ("update", "NEW"))


def upgrade() -> None:
    op.add_column(
        "generations",
        sa.Column("source_generation", sa.BigInteger(), nullable=False, server_default="0"),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, columns, principal in WATCHED:
        for event, row in EVENTS:
            named = ", ".join(f'"{name}"' for name in columns)
            when = f"update OF {named}" if event == "update" else event
            make = _sqlite_trigger if sqlite else _postgresql_trigger
            make(table, event, when, principal.format(row=row))
    if not sqlite:
        _postgresql_trigger("api_keys", "any", "insert OR update OR delete", "'keys'")


def _sqlite_trigger(table: str, event: str, when: str, principal: str) -> None:
    op.execute(
        f"CREATE TRIGGER signal_{table}_{event} AFTER {when} ON {table} BEGIN "
        f"UPDATE generations SET source_generation = source_generation + 1 "
        f"WHERE principal_id = {principal}; END"
    )


def _postgresql_trigger(table: str, event: str, when: str, principal: str) -> None:
    name = f"signal_{table}_{event}"
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"PERFORM pg_notify('gateway_generation', {principal}); RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


def downgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    names = [(table, event) for table, _, _ in WATCHED for event, _ in EVENTS]
    for table, event in names + ([] if sqlite else [("api_keys", "any")]):
        name = f"signal_{table}_{event}"
        if sqlite:
            op.execute(f"DROP TRIGGER {name}")
        else:
            op.execute(f"DROP TRIGGER {name} ON {table}")
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_column("generations", "source_generation")
