"""Venue codes and the printing of their posters."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0002_venue_codes"
down_revision = "0001_frame"
branch_labels = ("codes",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "venue_code",
        sa.Column("serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("entrance", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("token", sa.String(320), nullable=False),
        sa.Column("kid", sa.LargeBinary(8), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("issued_by", sa.String(16), nullable=False),
        sa.Column("posted_at", UtcDateTime()),
        sa.Column("posted_note", sa.String(200), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("end_reason", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_venue_code"),
        sa.ForeignKeyConstraint(
            ["venue_id", "entrance"], ["entrance.venue_id", "entrance.number"], name="fk_venue_code_venue_id_entrance"
        ),
        sa.ForeignKeyConstraint(["issued_by"], ["user_account.id"], name="fk_venue_code_issued_by"),
    )
    op.create_index("ix_venue_code_venue_id_entrance", "venue_code", ["venue_id", "entrance"])
    op.create_index("ix_venue_code_state_expires_at", "venue_code", ["state", "expires_at"])
    op.create_table(
        "poster_print",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(16), nullable=False),
        sa.Column("form", sa.String(4), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_poster_print"),
        sa.ForeignKeyConstraint(["serial"], ["venue_code.serial"], name="fk_poster_print_serial"),
        sa.ForeignKeyConstraint(["by"], ["user_account.id"], name="fk_poster_print_by"),
    )
    op.create_index("ix_poster_print_serial", "poster_print", ["serial"])
