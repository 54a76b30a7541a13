"""Sets of certificate rules, where they hold, and from when to when."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0081_rule_sets"
down_revision = "0001_frame"
branch_labels = ("rule_sets",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rule_set",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("area_code", sa.String(32)),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("rule_count", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("uploaded_at", UtcDateTime(), nullable=False),
        sa.Column("uploaded_by", sa.String(40), nullable=False),
        sa.Column("published_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("ended_because", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rule_set"),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_rule_set_area_code"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_rule_set_venue_id"),
        sa.CheckConstraint("area_code IS NULL OR venue_id IS NULL", name="ck_rule_set_one_scope"),
    )
    op.create_index("ix_rule_set_area_code", "rule_set", ["area_code"])
    op.create_index("ix_rule_set_venue_id", "rule_set", ["venue_id"])
