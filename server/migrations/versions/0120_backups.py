"""Backups: what was made, and what restoring it showed."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0120_backups"
down_revision = "0001_frame"
branch_labels = ("backups",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backup",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("file", sa.String(80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.String(200), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_backup"),
    )
    op.create_index("ix_backup_made_at", "backup", ["made_at"])
