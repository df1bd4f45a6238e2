"""Indexes for lists by page, for what is due, and for what was pushed to an account."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = (
    ("subaccounts", ["created_at", "id"]),
    ("principals", ["created_at", "id"]),
    ("principals", ["subaccount_id", "created_at", "id"]),
    ("schedules", ["created_at", "id"]),
    ("conflicts", ["created_at", "id"]),
    ("holds", ["expires_at"]),
    ("generations", ["covered_until", "principal_id"]),
    ("push_ledger", ["account_index", "upstream_path"]),
)


def upgrade() -> None:
    for table, columns in INDEXES:
        op.create_index(_name(table, columns), table, columns)
    op.drop_index("ix_principals_subaccount_id_id", "principals")


def downgrade() -> None:
    op.create_index("ix_principals_subaccount_id_id", "principals", ["subaccount_id", "id"])
    for table, columns in reversed(INDEXES):
        op.drop_index(_name(table, columns), table)


def _name(table: str, columns: list[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"
