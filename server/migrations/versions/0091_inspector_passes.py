"""Inspectors' passes."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0091_inspector_passes"
down_revision = "0001_frame"
branch_labels = ("inspectors",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inspector_pass",
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("places", sa.JSON(), nullable=False),
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("list_number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("issued_by", sa.String(16), nullable=False),
        sa.Column("revoked_at", UtcDateTime()),
        sa.Column("revoked_because", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("list_number", "position", name="pk_inspector_pass"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_inspector_pass_user_id"),
        sa.ForeignKeyConstraint(["issued_by"], ["user_account.id"], name="fk_inspector_pass_issued_by"),
    )
    op.create_index("ix_inspector_pass_user_id", "inspector_pass", ["user_id"])
    op.create_index("ix_inspector_pass_expires_at", "inspector_pass", ["expires_at"])
    op.create_index("ix_inspector_pass_area_path", "inspector_pass", ["area_path"])
