"""Find what came into a calendar lately without walking through all of it, and all ever pushed."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_objects_collection_id_created_at", "objects", ["collection_id", "created_at"]
    )
    op.create_index(
        "ix_push_ledger_upstream_calendar_id_updated_at",
        "push_ledger",
        ["upstream_calendar_id", "updated_at"],
    )
    op.drop_index("ix_push_ledger_upstream_calendar_id", "push_ledger")


def downgrade() -> None:
    op.create_index("ix_push_ledger_upstream_calendar_id", "push_ledger", ["upstream_calendar_id"])
    op.drop_index("ix_push_ledger_upstream_calendar_id_updated_at", "push_ledger")
    op.drop_index("ix_objects_collection_id_created_at", "objects")
