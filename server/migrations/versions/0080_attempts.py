"""Counts of failed attempts, shared by every web process."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0080_attempts"
down_revision = "0001_frame"
branch_labels = ("attempts",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempt_count",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_attempt_count"),
    )
    op.create_index("ix_attempt_count_ends_at", "attempt_count", ["ends_at"])
