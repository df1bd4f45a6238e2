"""Find the few objects without a known start without walking through all of a calendar."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_objects_collection_id_first_start", "objects", ["collection_id", "first_start"]
    )


def downgrade() -> None:
    op.drop_index("ix_objects_collection_id_first_start", "objects")
