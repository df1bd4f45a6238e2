"""How far people's objects are wanted beyond the rolling window; halves of moves by phones."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "horizons",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("wanted_from", sa.BigInteger(), nullable=False),
        sa.Column("wanted_until", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_horizons_principal_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_horizons")),
    )
    op.create_index(op.f("ix_horizons_asked_at"), "horizons", ["asked_at"])
    op.create_table(
        "appointment_moves",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("uid_hash", sa.Text(), nullable=False),
        sa.Column("done", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("appointment_id", sa.Text()),
        sa.Column("ledger_id", sa.Text()),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_appointment_moves_principal_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("principal_id", "uid_hash", name=op.f("pk_appointment_moves")),
    )
    op.create_index(op.f("ix_appointment_moves_at"), "appointment_moves", ["at"])


def downgrade() -> None:
    op.drop_table("appointment_moves")
    op.drop_table("horizons")
