"""Draws of venues to inspect, and photographs of inspections."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0129_inspections"
down_revision = "0001_frame"
branch_labels = ("inspections",)
depends_on = ("0127_uploads", "0094_cases")


def upgrade() -> None:
    op.create_table(
        "inspection_draw",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(16), nullable=False),
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("seed", sa.LargeBinary(32), nullable=False),
        sa.Column("list_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("candidates", sa.JSON(), nullable=False),
        sa.Column("picked", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_inspection_draw"),
        sa.ForeignKeyConstraint(["by"], ["user_account.id"], name="fk_inspection_draw_by"),
    )
    op.create_index("ix_inspection_draw_area_path", "inspection_draw", ["area_path"])
    op.create_table(
        "inspection_photo",
        sa.Column("upload_id", sa.String(32), nullable=False),
        sa.Column("case_id", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(10), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name="pk_inspection_photo"),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name="fk_inspection_photo_upload_id"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name="fk_inspection_photo_case_id"),
        sa.ForeignKeyConstraint(["by"], ["user_account.id"], name="fk_inspection_photo_by"),
    )
    op.create_index("ix_inspection_photo_case_id", "inspection_photo", ["case_id"])
