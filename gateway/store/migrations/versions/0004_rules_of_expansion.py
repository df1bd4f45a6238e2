"""Say per calendar how its all-day events count, and by which rules an object was expanded.

All-day events without TRANSP were free; now they are busy (RFC 5545 3.8.2.7), and a calendar says
``as-marked``, ``block`` or ``ignore`` where it had ``all_day_blocks``. Stored instances of the old
rule are made busy here, so that nothing is sold until the worker has expanded their objects anew;
``expanded_by`` tells it which are left.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "upstream_calendars",
        sa.Column("all_day", sa.Text(), nullable=False, server_default="as-marked"),
    )
    op.execute("UPDATE upstream_calendars SET all_day = 'block' WHERE all_day_blocks")
    op.drop_column("upstream_calendars", "all_day_blocks")
    for table in ("objects", "generations"):
        op.add_column(
            table, sa.Column("expanded_by", sa.Integer(), nullable=False, server_default="1")
        )
    op.create_index("ix_generations_expanded_by", "generations", ["expanded_by"])
    op.execute(
        "UPDATE instances SET fbtype = 'BUSY', reason = 'opaque' WHERE reason = 'all-day-free'"
    )
    op.execute("UPDATE generations SET generation = generation + 1")


def downgrade() -> None:
    op.drop_index("ix_generations_expanded_by", "generations")
    for table in ("objects", "generations"):
        op.drop_column(table, "expanded_by")
    op.add_column(
        "upstream_calendars",
        sa.Column("all_day_blocks", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute("UPDATE upstream_calendars SET all_day_blocks = (all_day = 'block')")
    op.drop_column("upstream_calendars", "all_day")
