"""Public notices for the screens of kiosks."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0087_public_notices"
down_revision = "0001_frame"
branch_labels = ("notices",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "public_notice",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("area_code", sa.String(32), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("title_zh", sa.String(30), nullable=False),
        sa.Column("title_en", sa.String(90), nullable=False),
        sa.Column("body_zh", sa.String(60), nullable=False),
        sa.Column("body_en", sa.String(180), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("from_at", UtcDateTime(), nullable=False),
        sa.Column("until_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.Column("written_by", sa.String(16), nullable=False),
        sa.Column("published_at", UtcDateTime()),
        sa.Column("published_by", sa.String(16)),
        sa.Column("withdrawn_at", UtcDateTime()),
        sa.Column("withdrawn_by", sa.String(16)),
        sa.Column("withdrawn_because", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_public_notice"),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_public_notice_area_code"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_public_notice_venue_id"),
        sa.ForeignKeyConstraint(["written_by"], ["user_account.id"], name="fk_public_notice_written_by"),
        sa.ForeignKeyConstraint(["published_by"], ["user_account.id"], name="fk_public_notice_published_by"),
        sa.ForeignKeyConstraint(["withdrawn_by"], ["user_account.id"], name="fk_public_notice_withdrawn_by"),
    )
    op.create_index("ix_public_notice_area_code", "public_notice", ["area_code"])
    op.create_index("ix_public_notice_written_at", "public_notice", ["written_at"])
    op.create_index("ix_public_notice_state_until_at", "public_notice", ["state", "until_at"])
