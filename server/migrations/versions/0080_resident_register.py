"""Residents registered at the console: each number once, and the end of a registration."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0080_resident_register"
down_revision = "0060_paper_codes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("resident", sa.Column("number_tag", sa.LargeBinary(16)))
    op.add_column("resident", sa.Column("withdrawn_at", UtcDateTime()))
    op.create_index("ix_resident_number_tag", "resident", ["number_tag"], unique=True)
