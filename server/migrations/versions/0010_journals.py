"""Kiosks' journals, what is kept aside from them, bundles and the worker's record of its runs."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0010_journals"
down_revision = "0001_frame"
branch_labels = ("journals",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", name="pk_journal"),
    )
    op.create_table(
        "journal_boot",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("boot", sa.LargeBinary(8), nullable=False),
        sa.Column("mono_ms", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", "boot", name="pk_journal_boot"),
    )
    op.create_table(
        "journal_record",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received_day", sa.Integer(), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("epoch", sa.LargeBinary(16), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("entrance", sa.Integer()),
        sa.Column("at_ms", sa.BigInteger()),
        sa.Column("clock", sa.SmallInteger()),
        sa.Column("outcome", sa.String(8)),
        sa.Column("mode", sa.String(8)),
        sa.Column("direction", sa.String(4)),
        sa.Column("credential", sa.String(24)),
        sa.Column("measured", sa.String(16)),
        sa.Column("colour", sa.SmallInteger()),
        sa.Column("operator", sa.String(64)),
        sa.Column("event", sa.String(64)),
        sa.PrimaryKeyConstraint("kiosk_id", "sequence", name="pk_journal_record"),
    )
    op.create_index("ix_journal_record_venue_id_at_ms", "journal_record", ["venue_id", "at_ms"])
    op.create_table(
        "epoch",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("epoch", sa.LargeBinary(16), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary()),
        sa.Column("wrapped_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("destroyed_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("kiosk_id", "epoch", name="pk_epoch"),
    )
    op.create_table(
        "quarantined",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("noted_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", "sequence", name="pk_quarantined"),
    )
    op.create_index("ix_quarantined_noted_at", "quarantined", ["noted_at"])
    op.create_table(
        "forked_record",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("epoch", sa.LargeBinary(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", "sequence", "hash", name="pk_forked_record"),
    )
    op.create_table(
        "fork",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("their_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("our_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("boot", sa.LargeBinary(8), nullable=False),
        sa.Column("upload", sa.LargeBinary(), nullable=False),
        sa.Column("noted_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", "sequence", "their_hash", name="pk_fork"),
    )
    op.create_index("ix_fork_noted_at", "fork", ["noted_at"])
    op.create_table(
        "bundle_part",
        sa.Column("scope", sa.String(24), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", name="pk_bundle_part"),
    )
    op.create_index("ix_bundle_part_version", "bundle_part", ["version"])
    op.create_index("ix_bundle_part_digest", "bundle_part", ["digest"])
    op.create_table(
        "call_nonce",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("nonce", sa.LargeBinary(16), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", "nonce", name="pk_call_nonce"),
    )
    op.create_index("ix_call_nonce_seen_at", "call_nonce", ["seen_at"])
    op.create_table(
        "kiosk_staff",
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
        sa.Column("pin_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("venue_id", "staff_id", name="pk_kiosk_staff"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_kiosk_staff_venue_id"),
    )
    op.create_table(
        "worker_run",
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("finished_at", UtcDateTime()),
        sa.Column("succeeded_at", UtcDateTime()),
        sa.Column("next_at", UtcDateTime(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("action", name="pk_worker_run"),
    )
