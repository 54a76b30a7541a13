"""Residents, with encrypted identity, and their health status."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0003_residents"
down_revision = "0001_frame"
branch_labels = ("residents",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "resident",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("identity", sa.LargeBinary(256), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_resident"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_resident_user_id"),
        sa.UniqueConstraint("user_id", name="uq_resident_user_id"),
    )
    op.create_table(
        "health_status",
        sa.Column("resident_id", sa.String(16), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("colour", sa.SmallInteger(), nullable=False),
        sa.Column("cause", sa.String(40), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("set_by", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("resident_id", "since", name="pk_health_status"),
        sa.ForeignKeyConstraint(["resident_id"], ["resident.id"], name="fk_health_status_resident_id"),
    )
