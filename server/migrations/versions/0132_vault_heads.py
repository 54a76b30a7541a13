"""Signed heads of the vault's access log, and the proof that each look stands in it."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0132_vault_heads"
down_revision = "0050_queries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vault_head",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_vault_head"),
    )
    op.create_index("ix_vault_line_event_at_ms", "vault_line", ["event", "at_ms"])
    op.add_column("look", sa.Column("proof", sa.Text(), nullable=False, server_default=""))
