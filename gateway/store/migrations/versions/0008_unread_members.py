"""Members that iCloud lists and does not hand over, and what an account asked lately.

A member that cannot be read stops nobody any more: it has a row of its own and is asked for again
(R9). ``recent_requests`` hands the budget of an account from one process to the next with its
lease; ``wanted_until`` tells the holder that somebody waits to read.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unread_members",
        sa.Column("upstream_calendar_id", sa.Text(), nullable=False),
        sa.Column("name_key", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upstream_calendar_id"],
            ["upstream_calendars.id"],
            name="fk_unread_members_upstream_calendar_id_upstream_calendars",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("upstream_calendar_id", "name_key", name="pk_unread_members"),
    )
    op.add_column(
        "upstream_calendars",
        sa.Column("catching_up", sa.Integer(), nullable=False, server_default="0"),
    )
    op.add_column(
        "upstream_calendars",
        sa.Column("set_aside", sa.Integer(), nullable=False, server_default="0"),
    )
    op.add_column("upstream_calendars", sa.Column("retry_at", sa.Float(), nullable=True))
    op.add_column("connections", sa.Column("recent_requests", sa.Text(), nullable=True))
    op.add_column(
        "connections", sa.Column("wanted_until", sa.Float(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.drop_column("connections", "wanted_until")
    op.drop_column("connections", "recent_requests")
    op.drop_column("upstream_calendars", "retry_at")
    op.drop_column("upstream_calendars", "set_aside")
    op.drop_column("upstream_calendars", "catching_up")
    op.drop_table("unread_members")
