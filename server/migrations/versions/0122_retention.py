"""Certificates of destruction, and how many passages each day brought."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0122_retention"
down_revision = "0001_frame"
branch_labels = ("retention",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "destruction",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("before_day", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("epochs_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("kiosks", sa.Integer(), nullable=False),
        sa.Column("passages", sa.BigInteger(), nullable=False),
        sa.Column("by_day", sa.JSON(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("vault_head", sa.String(100), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_destruction"),
    )
    op.create_index("ix_destruction_at", "destruction", ["at"])
    op.create_table(
        "day_count",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("passages", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_day_count"),
    )
