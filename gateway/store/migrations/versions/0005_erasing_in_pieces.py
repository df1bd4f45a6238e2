"""Erase in pieces what is hidden at once, and indexes for what was found by walking through all."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# name, table, columns, over which rows only
INDEXES = (
    ("ix_subaccounts_erased", "subaccounts", ["id"], "erased_at IS NOT NULL"),
    ("ix_principals_erased", "principals", ["id"], "erased_at IS NOT NULL"),
    ("ix_collections_erased", "collections", ["id"], "kind = 'erased'"),
    ("ix_objects_principal_id_id", "objects", ["principal_id", "id"], None),
    ("ix_objects_problems", "objects", ["principal_id", "name"], "problem IS NOT NULL"),
    ("ix_objects_slots", "objects", ["first_start", "id"], "kind = 'blocked-slot'"),
    (
        "ix_objects_slots_of",
        "objects",
        ["principal_id", "first_start", "id"],
        "kind = 'blocked-slot'",
    ),
    ("ix_conflicts_ledger_id", "conflicts", ["ledger_id"], None),
    ("ix_appointments_start_id", "appointments", ["start", "id"], None),
)


def upgrade() -> None:
    for table in ("subaccounts", "principals"):
        op.add_column(table, sa.Column("erased_at", sa.BigInteger()))
    for name, table, columns, condition in INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    op.drop_index("ix_objects_principal_id_open_ended", "objects")


def downgrade() -> None:
    # What was hidden must not be seen again.
    op.execute("DELETE FROM collections WHERE kind = 'erased'")
    for table in ("principals", "subaccounts"):
        op.execute(f"DELETE FROM {table} WHERE erased_at IS NOT NULL")
    op.create_index("ix_objects_principal_id_open_ended", "objects", ["principal_id", "open_ended"])
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table)
    for table in ("principals", "subaccounts"):
        op.drop_column(table, "erased_at")
