"""Passages counted by hour and area, and how far each journal has been counted."""

import sqlalchemy as sa
from alembic import op

revision = "0125_passage_hours"
down_revision = "0001_frame"
branch_labels = ("passage_hours",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "passage_hour",
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("admitted", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("denied", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("area_path", "hour", name="pk_passage_hour"),
    )
    op.create_index("ix_passage_hour_hour", "passage_hour", ["hour"])
    op.create_table(
        "passage_counted",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", name="pk_passage_counted"),
    )
