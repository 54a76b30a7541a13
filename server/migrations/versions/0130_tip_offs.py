"""Tip-offs and the messages about them."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0130_tip_offs"
down_revision = "0001_frame"
branch_labels = ("tip_offs",)
depends_on = ("0127_uploads",)


def upgrade() -> None:
    op.create_table(
        "tip_off",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("sort", sa.String(20), nullable=False),
        sa.Column("place", sa.LargeBinary(), nullable=False),
        sa.Column("told", sa.LargeBinary(), nullable=False),
        sa.Column("photo_id", sa.String(32)),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tip_off"),
        sa.UniqueConstraint("code_hash", name="uq_tip_off_code_hash"),
        sa.ForeignKeyConstraint(["photo_id"], ["upload.id"], name="fk_tip_off_photo_id"),
    )
    op.create_table(
        "tip_off_message",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("tip_off_id", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("is_from_staff", sa.Boolean(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tip_off_message"),
        sa.ForeignKeyConstraint(["tip_off_id"], ["tip_off.id"], name="fk_tip_off_message_tip_off_id"),
    )
    op.create_index("ix_tip_off_message_tip_off_id", "tip_off_message", ["tip_off_id"])
