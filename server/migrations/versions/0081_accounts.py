"""Sessions in the database, second factors, one-time links, agreement and training."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0081_accounts"
down_revision = "0080_attempts"
branch_labels = None
depends_on = None


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=f"fk_{table}_user_id")


def upgrade() -> None:
    op.execute("ALTER TABLE user_account DROP COLUMN session_epoch")
    op.create_table(
        "account_session",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("wrong_codes", sa.Integer(), nullable=False),
        sa.Column("browser", sa.String(60), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account_session"),
        sa.UniqueConstraint("key", name="uq_account_session_key"),
        _of_user("account_session"),
    )
    op.create_index("ix_account_session_user_id", "account_session", ["user_id"])
    op.create_index("ix_account_session_ends_at", "account_session", ["ends_at"])
    op.create_table(
        "totp_secret",
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime()),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_totp_secret"),
        _of_user("totp_secret"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("key", name="pk_recovery_code"),
        _of_user("recovery_code"),
    )
    op.create_index("ix_recovery_code_user_id", "recovery_code", ["user_id"])
    op.create_table(
        "sign_in_passkey",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_passkey"),
        sa.UniqueConstraint("credential_id", name="uq_sign_in_passkey_credential_id"),
        _of_user("sign_in_passkey"),
    )
    op.create_index("ix_sign_in_passkey_user_id", "sign_in_passkey", ["user_id"])
    op.create_table(
        "used_challenge",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_used_challenge"),
    )
    op.create_index("ix_used_challenge_ends_at", "used_challenge", ["ends_at"])
    op.create_table(
        "password_link",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("made_by", sa.String(16)),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("key", name="pk_password_link"),
        _of_user("password_link"),
        sa.ForeignKeyConstraint(["made_by"], ["user_account.id"], name="fk_password_link_made_by"),
    )
    op.create_index("ix_password_link_user_id", "password_link", ["user_id"])
    op.create_table(
        "agreement_signature",
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", name="pk_agreement_signature"),
        _of_user("agreement_signature"),
    )
    op.create_table(
        "training_pass",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("passed_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_by", sa.String(16)),
        sa.PrimaryKeyConstraint("id", name="pk_training_pass"),
        _of_user("training_pass"),
        sa.ForeignKeyConstraint(["recorded_by"], ["user_account.id"], name="fk_training_pass_recorded_by"),
    )
    op.create_index("ix_training_pass_user_id", "training_pass", ["user_id"])
