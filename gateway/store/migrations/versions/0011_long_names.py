"""Names upstream have any length, an index entry of PostgreSQL ends at about 2,700 bytes.

Of a longer name ``upstream_name`` holds a digest from now on, and the name itself stands beside it.
Nothing is to be moved: such a name could not be stored on PostgreSQL, and SQLite has no such limit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("objects", sa.Column("upstream_long_name", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("objects", "upstream_long_name")
