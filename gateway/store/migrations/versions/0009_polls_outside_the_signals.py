"""A poll that found nothing new is no change: it writes one row, and no signal is raised by it.

``connections.verified_at`` says for all calendars of an account at once that they were found
current. The signals of 0002 are raised when a watched value changes, not when it is written again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# As in 0002, and what is asked for again (R9): table, columns whose change counts, principal.
WATCHED = (
    ("collections", ("kind", "transparent"), "NEW.principal_id"),
    ("connections", ("state", "trust_for_s"), "NEW.principal_id"),
    ("holds", ("start", "end", "expires_at"), "NEW.principal_id"),
    ("principals", ("time_zone", "subaccount_id"), "NEW.id"),
    (
        "upstream_calendars",
        ("role", "blocks", "state", "problem", "synced_at", "catching_up"),
        "(SELECT principal_id FROM connections WHERE id = NEW.connection_id)",
    ),
)


def upgrade() -> None:
    op.add_column("connections", sa.Column("verified_at", sa.BigInteger()))
    _renew_triggers(only_changes=True)


def downgrade() -> None:
    op.execute(
        "UPDATE upstream_calendars SET synced_at = (SELECT verified_at FROM connections"
        " WHERE connections.id = upstream_calendars.connection_id)"
        " WHERE state = 'ok' AND role <> 'none' AND synced_at < (SELECT verified_at"
        " FROM connections WHERE connections.id = upstream_calendars.connection_id)"
    )
    _renew_triggers(only_changes=False)
    op.drop_column("connections", "verified_at")


def _renew_triggers(*, only_changes: bool) -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, watched, principal in WATCHED:
        name = f"signal_{table}_update"
        columns = watched if only_changes else [one for one in watched if one != "catching_up"]
        when = ""
        if only_changes:
            differs = "IS NOT" if sqlite else "IS DISTINCT FROM"
            changes = " OR ".join(f'OLD."{one}" {differs} NEW."{one}"' for one in columns)
            when = f"WHEN ({changes}) "
        named = ", ".join(f'"{one}"' for one in columns)
        if sqlite:
            op.execute(f"DROP TRIGGER {name}")
            op.execute(
                f"CREATE TRIGGER {name} AFTER UPDATE OF {named} ON {table} {when}BEGIN "
                f"UPDATE generations SET source_generation = source_generation + 1 "
                f"WHERE principal_id = {principal}; END"
            )
        else:
            op.execute(f"DROP TRIGGER {name} ON {table}")
            op.execute(
                f"CREATE TRIGGER {name} AFTER UPDATE OF {named} ON {table} FOR EACH ROW {when}"
                f"EXECUTE FUNCTION {name}()"
            )
