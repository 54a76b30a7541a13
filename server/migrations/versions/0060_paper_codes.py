"""Where residents live, their paper codes, and badges of venue staff."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0060_paper_codes"
down_revision = "0003_residents"
branch_labels = None
depends_on = "0010_journals"


def upgrade() -> None:
    # inline, because SQLite cannot add a constraint to a table that stands, and copying it would break its children
    op.execute(
        "ALTER TABLE resident ADD COLUMN area_code VARCHAR(32) CONSTRAINT fk_resident_area_code REFERENCES area (code)"
    )
    op.create_index("ix_resident_area_code", "resident", ["area_code"])
    op.create_table(
        "paper_code",
        sa.Column("list_number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("resident_id", sa.String(16), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("issued_by", sa.String(16), nullable=False),
        sa.Column("revoked_at", UtcDateTime()),
        sa.Column("revoked_because", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("list_number", "position", name="pk_paper_code"),
        sa.ForeignKeyConstraint(["resident_id"], ["resident.id"], name="fk_paper_code_resident_id"),
        sa.ForeignKeyConstraint(["issued_by"], ["user_account.id"], name="fk_paper_code_issued_by"),
    )
    op.create_index("ix_paper_code_resident_id", "paper_code", ["resident_id"])
    op.create_index("ix_paper_code_expires_at", "paper_code", ["expires_at"])
    op.create_table(
        "staff_badge",
        sa.Column("list_number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("issued_by", sa.String(16), nullable=False),
        sa.Column("revoked_at", UtcDateTime()),
        sa.Column("revoked_because", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("list_number", "position", name="pk_staff_badge"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_staff_badge_venue_id"),
        sa.ForeignKeyConstraint(["issued_by"], ["user_account.id"], name="fk_staff_badge_issued_by"),
    )
    op.create_index("ix_staff_badge_venue_id_staff_id", "staff_badge", ["venue_id", "staff_id"])
    op.create_index("ix_staff_badge_expires_at", "staff_badge", ["expires_at"])
