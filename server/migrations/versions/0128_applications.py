"""Applications for codes, and what was sent of them."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0128_applications"
down_revision = "0001_frame"
branch_labels = ("applications",)
depends_on = ("0127_uploads",)


def upgrade() -> None:
    op.create_table(
        "code_application",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("applicant_id", sa.String(16), nullable=False),
        sa.Column("area_code", sa.String(32), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("proof_id", sa.String(32)),
        sa.Column("plan_id", sa.String(32)),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_code_application"),
        sa.ForeignKeyConstraint(["applicant_id"], ["user_account.id"], name="fk_code_application_applicant_id"),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_code_application_area_code"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_code_application_venue_id"),
        sa.ForeignKeyConstraint(["proof_id"], ["upload.id"], name="fk_code_application_proof_id"),
        sa.ForeignKeyConstraint(["plan_id"], ["upload.id"], name="fk_code_application_plan_id"),
    )
    op.create_index("ix_code_application_applicant_id", "code_application", ["applicant_id"])
    op.create_index("ix_code_application_venue_id", "code_application", ["venue_id"])
    op.create_table(
        "application_version",
        sa.Column("application_id", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("area_code", sa.String(32), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("proof_id", sa.String(32), nullable=False),
        sa.Column("plan_id", sa.String(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "number", name="pk_application_version"),
        sa.ForeignKeyConstraint(
            ["application_id"], ["code_application.id"], name="fk_application_version_application_id"
        ),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_application_version_area_code"),
        sa.ForeignKeyConstraint(["proof_id"], ["upload.id"], name="fk_application_version_proof_id"),
        sa.ForeignKeyConstraint(["plan_id"], ["upload.id"], name="fk_application_version_plan_id"),
    )
