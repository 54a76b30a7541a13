"""How far the vault's index is behind."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0137_index_lag"
down_revision = "0001_frame"
branch_labels = ("index_lag",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "index_lag",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.Column("behind", sa.BigInteger(), nullable=False),
        sa.Column("oldest_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_index_lag"),
    )
