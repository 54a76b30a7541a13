"""Accounts that operators of venues made themselves."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0150_registrations"
down_revision = "0001_frame"
branch_labels = ("registrations",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "operator_registration",
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("notice", sa.String(20), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_operator_registration"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_operator_registration_user_id"),
    )
    op.create_index("ix_operator_registration_at", "operator_registration", ["at"])
