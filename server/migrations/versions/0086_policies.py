"""Changed profiles, emergencies, and venues' capacity and hours."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0086_policies"
down_revision = "0001_frame"
branch_labels = ("policies",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_profile",
        sa.Column("category", sa.String(20), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("category", "mode", name="pk_policy_profile"),
        sa.ForeignKeyConstraint(["changed_by"], ["user_account.id"], name="fk_policy_profile_changed_by"),
    )
    op.create_table(
        "emergency",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("area_code", sa.String(32), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("started_by", sa.String(16), nullable=False),
        sa.Column("until_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("ended_by", sa.String(16)),
        sa.Column("ended_because", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_emergency"),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_emergency_area_code"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_emergency_venue_id"),
        sa.ForeignKeyConstraint(["started_by"], ["user_account.id"], name="fk_emergency_started_by"),
        sa.ForeignKeyConstraint(["ended_by"], ["user_account.id"], name="fk_emergency_ended_by"),
    )
    op.create_index("ix_emergency_area_code", "emergency", ["area_code"])
    op.create_index("ix_emergency_venue_id", "emergency", ["venue_id"])
    op.create_index("ix_emergency_ended_at_until_at", "emergency", ["ended_at", "until_at"])
    op.create_table(
        "venue_terms",
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("hours", sa.String(120), nullable=False),
        sa.Column("elsewhere_zh", sa.String(120), nullable=False),
        sa.Column("elsewhere_en", sa.String(120), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("venue_id", name="pk_venue_terms"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_venue_terms_venue_id"),
    )
