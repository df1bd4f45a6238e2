"""One appointment per external id, and leases of running requests under an Idempotency-Key.

Of appointments that shared an external id the first keeps it; the others go on showing theirs,
but it is not theirs to be found by. A request that was running while the schema changed is dead:
its lease has run out.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "appointment_external_ids",
        sa.Column("subaccount_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("appointment_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subaccount_id"],
            ["subaccounts.id"],
            name=op.f("fk_appointment_external_ids_subaccount_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["appointment_id"],
            ["appointments.id"],
            name=op.f("fk_appointment_external_ids_appointment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "subaccount_id", "external_id", name=op.f("pk_appointment_external_ids")
        ),
    )
    op.create_index(
        op.f("ix_appointment_external_ids_appointment_id"),
        "appointment_external_ids",
        ["appointment_id"],
    )
    op.execute(
        """
        INSERT INTO appointment_external_ids (subaccount_id, external_id, appointment_id)
        SELECT subaccount_id, external_id, id FROM (
            SELECT p.subaccount_id, a.external_id, a.id, row_number() OVER (
                PARTITION BY p.subaccount_id, a.external_id ORDER BY a.created_at, a.id
            ) AS position
            FROM appointments a JOIN principals p ON p.id = a.principal_id
            WHERE a.external_id IS NOT NULL
        ) AS numbered
        WHERE position = 1
        """
    )
    op.add_column(
        "idempotency", sa.Column("lease_until", sa.BigInteger(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    with op.batch_alter_table("idempotency") as batch_op:
        batch_op.drop_column("lease_until")
    op.drop_table("appointment_external_ids")
