"""References of check-ins by phone."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0102_phone_checkins"
down_revision = "0001_frame"
branch_labels = ("checkin",)
depends_on = "0002_venue_codes"


def upgrade() -> None:
    op.create_table(
        "phone_checkin",
        sa.Column("nonce", sa.LargeBinary(16), nullable=False),
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("entrance", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("reference", sa.String(7), nullable=False),
        sa.Column("shown_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("nonce", name="pk_phone_checkin"),
        sa.ForeignKeyConstraint(["serial"], ["venue_code.serial"], name="fk_phone_checkin_serial"),
    )
    op.create_index("ix_phone_checkin_serial_at", "phone_checkin", ["serial", "at"])
    op.create_index("ix_phone_checkin_venue_id_reference", "phone_checkin", ["venue_id", "reference"])
    op.create_index("ix_phone_checkin_at", "phone_checkin", ["at"])
