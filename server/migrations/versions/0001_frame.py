"""The frame: accounts, areas, venues, kiosks and the audit trail."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0001_frame"
down_revision = None
branch_labels = None
depends_on = None

_SQLITE_APPEND_ONLY = """
CREATE TRIGGER audit_event_no_{verb} BEFORE {verb} ON audit_event
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
_POSTGRESQL_APPEND_ONLY = (
    """
    CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$
    """,
    """
    CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse()
    """,
)


def upgrade() -> None:
    op.create_table(
        "area",
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("parent_code", sa.String(32)),
        sa.Column("level", sa.String(20), nullable=False),
        sa.Column("name_zh", sa.String(80), nullable=False),
        sa.Column("name_en", sa.String(80), nullable=False),
        sa.Column("path", sa.String(300), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_area"),
        sa.ForeignKeyConstraint(["parent_code"], ["area.code"], name="fk_area_parent_code"),
        sa.UniqueConstraint("path", name="uq_area_path"),
    )
    op.create_index("ix_area_parent_code", "area", ["parent_code"])
    op.create_table(
        "venue",
        sa.Column("id", sa.LargeBinary(6), nullable=False),
        sa.Column("area_code", sa.String(32), nullable=False),
        sa.Column("name_zh", sa.String(80), nullable=False),
        sa.Column("name_en", sa.String(80), nullable=False),
        sa.Column("address", sa.String(200), nullable=False),
        sa.Column("category", sa.String(20), nullable=False),
        sa.Column("keeper_name", sa.String(80), nullable=False),
        sa.Column("keeper_phone", sa.String(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_venue"),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_venue_area_code"),
    )
    op.create_index("ix_venue_area_code", "venue", ["area_code"])
    op.create_index("ix_venue_keeper_name", "venue", ["keeper_name"])
    op.create_table(
        "entrance",
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name_zh", sa.String(80), nullable=False),
        sa.Column("name_en", sa.String(80), nullable=False),
        sa.Column("closed_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("venue_id", "number", name="pk_entrance"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_entrance_venue_id"),
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String(80), nullable=False),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("session_epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user_account"),
        sa.UniqueConstraint("name", name="uq_user_account_name"),
    )
    op.create_table(
        "role_assignment",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("area_code", sa.String(32)),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime()),
        sa.Column("granted_by", sa.String(16)),
        sa.PrimaryKeyConstraint("id", name="pk_role_assignment"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_role_assignment_user_id"),
        sa.ForeignKeyConstraint(["area_code"], ["area.code"], name="fk_role_assignment_area_code"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_role_assignment_venue_id"),
        sa.ForeignKeyConstraint(["granted_by"], ["user_account.id"], name="fk_role_assignment_granted_by"),
        sa.CheckConstraint("area_code IS NULL OR venue_id IS NULL", name="ck_role_assignment_one_scope"),
    )
    op.create_index("ix_role_assignment_user_id", "role_assignment", ["user_id"])
    op.create_table(
        "sign_in_delay",
        sa.Column("source_and_name", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("wait_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("source_and_name", name="pk_sign_in_delay"),
    )
    op.create_index("ix_sign_in_delay_wait_until", "sign_in_delay", ["wait_until"])
    op.create_table(
        "kiosk",
        sa.Column("id", sa.LargeBinary(8), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("entrance", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("public_key", sa.LargeBinary(32), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("enrolled_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime()),
        sa.Column("last_sequence", sa.BigInteger()),
        sa.Column("unsent_count", sa.Integer()),
        sa.Column("oldest_unsent_at", UtcDateTime()),
        sa.Column("bundle_version", sa.Integer()),
        sa.Column("app_version", sa.String(40)),
        sa.Column("clock_offset_ms", sa.BigInteger()),
        sa.Column("opening_test_at", UtcDateTime()),
        sa.Column("health", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_kiosk"),
        sa.UniqueConstraint("public_key", name="uq_kiosk_public_key"),
        sa.ForeignKeyConstraint(
            ["venue_id", "entrance"], ["entrance.venue_id", "entrance.number"], name="fk_kiosk_venue_id_entrance"
        ),
    )
    op.create_index("ix_kiosk_venue_id_entrance", "kiosk", ["venue_id", "entrance"])
    op.create_index("ix_kiosk_state", "kiosk", ["state"])
    op.create_index("ix_kiosk_last_seen_at", "kiosk", ["last_seen_at"])
    op.create_table(
        "enrolment_code",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("entrance", sa.Integer(), nullable=False),
        sa.Column("kiosk_name", sa.String(80), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(16), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime()),
        sa.Column("cancelled_at", UtcDateTime()),
        sa.Column("kiosk_id", sa.LargeBinary(8)),
        sa.PrimaryKeyConstraint("id", name="pk_enrolment_code"),
        sa.UniqueConstraint("token_hash", name="uq_enrolment_code_token_hash"),
        sa.ForeignKeyConstraint(
            ["venue_id", "entrance"],
            ["entrance.venue_id", "entrance.number"],
            name="fk_enrolment_code_venue_id_entrance",
        ),
        sa.ForeignKeyConstraint(["created_by"], ["user_account.id"], name="fk_enrolment_code_created_by"),
        sa.ForeignKeyConstraint(["kiosk_id"], ["kiosk.id"], name="fk_enrolment_code_kiosk_id"),
    )
    op.create_index("ix_enrolment_code_venue_id_entrance", "enrolment_code", ["venue_id", "entrance"])
    op.create_table(
        "audit_event",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(40), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("object_kind", sa.String(30), nullable=False),
        sa.Column("object_id", sa.String(64), nullable=False),
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_event"),
    )
    for column in ("at", "actor", "action", "area_path"):
        op.create_index(f"ix_audit_event_{column}", "audit_event", [column])
    op.create_index("ix_audit_event_object_kind_object_id", "audit_event", ["object_kind", "object_id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_APPEND_ONLY.format(verb=verb))
    elif op.get_bind().dialect.name == "postgresql":
        for statement in _POSTGRESQL_APPEND_ONLY:
            op.execute(statement)
