"""Queries, looks, offered passkeys and the copy of the vault's access log."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0050_queries"
down_revision = "0001_frame"
branch_labels = ("queries",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "query",
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("requester_id", sa.String(16), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("decided_by", sa.String(16)),
        sa.Column("decided_at", UtcDateTime()),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.Column("approval", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_query"),
        sa.UniqueConstraint("digest", name="uq_query_digest"),
        sa.ForeignKeyConstraint(["requester_id"], ["user_account.id"], name="fk_query_requester_id"),
        sa.ForeignKeyConstraint(["decided_by"], ["user_account.id"], name="fk_query_decided_by"),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> requester_id", name="ck_query_not_ones_own"),
    )
    for column in ("requester_id", "state", "created_at", "expires_at"):
        op.create_index(f"ix_query_{column}", "query", [column])
    op.create_table(
        "query_venue",
        sa.Column("query_id", sa.LargeBinary(16), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.PrimaryKeyConstraint("query_id", "venue_id", name="pk_query_venue"),
        sa.ForeignKeyConstraint(["query_id"], ["query.id"], name="fk_query_venue_query_id"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_query_venue_venue_id"),
    )
    op.create_index("ix_query_venue_venue_id", "query_venue", ["venue_id"])
    op.create_table(
        "look",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("query_id", sa.LargeBinary(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("legal_ground", sa.Text(), nullable=False),
        sa.Column("log_sequence", sa.BigInteger(), nullable=False),
        sa.Column("log_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_look"),
        sa.ForeignKeyConstraint(["query_id"], ["query.id"], name="fk_look_query_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_look_user_id"),
    )
    for column in ("query_id", "user_id", "at"):
        op.create_index(f"ix_look_{column}", "look", [column])
    op.create_table(
        "passkey_offer",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("offered_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_passkey_offer"),
        sa.UniqueConstraint("credential_id", name="uq_passkey_offer_credential_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_passkey_offer_user_id"),
    )
    op.create_index("ix_passkey_offer_user_id", "passkey_offer", ["user_id"])
    op.create_table(
        "vault_line",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("query_id", sa.LargeBinary(16)),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_vault_line"),
    )
    for column in ("event", "query_id"):
        op.create_index(f"ix_vault_line_{column}", "vault_line", [column])
    op.create_table(
        "vault_log_check",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.Column("problem", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vault_log_check"),
    )
