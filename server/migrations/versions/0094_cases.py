"""Cases, their chained entries, and notes about them."""

import sqlalchemy as sa
from alembic import op

from server.db import UtcDateTime

revision = "0094_cases"
down_revision = "0001_frame"
branch_labels = ("cases",)
depends_on = None

# what an entry says of who, when and which step lasts; its words and their salt can be erased, and only that
LASTING = "case_id, sequence, at, actor, step, source, target, words_digest, previous_hash, hash"
_SQLITE = (
    f"""
    CREATE TRIGGER case_entry_no_update BEFORE UPDATE OF {LASTING} ON case_entry
    BEGIN SELECT RAISE(ABORT, 'the history of a case is append-only'); END
    """,
    """
    CREATE TRIGGER case_entry_no_rewriting BEFORE UPDATE OF salt, words ON case_entry
    WHEN NEW.words IS NOT NULL OR NEW.salt IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the history of a case is append-only'); END
    """,
    """
    CREATE TRIGGER case_entry_no_delete BEFORE DELETE ON case_entry
    BEGIN SELECT RAISE(ABORT, 'the history of a case is append-only'); END
    """,
)
_POSTGRESQL = (
    """
    CREATE FUNCTION case_entry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the history of a case is append-only'; END $$
    """,
    f"""
    CREATE TRIGGER case_entry_no_update BEFORE UPDATE OF {LASTING} ON case_entry
    FOR EACH STATEMENT EXECUTE FUNCTION case_entry_refuse()
    """,
    """
    CREATE TRIGGER case_entry_no_rewriting BEFORE UPDATE OF salt, words ON case_entry
    FOR EACH ROW WHEN (NEW.words IS NOT NULL OR NEW.salt IS NOT NULL) EXECUTE FUNCTION case_entry_refuse()
    """,
    """
    CREATE TRIGGER case_entry_no_delete BEFORE DELETE OR TRUNCATE ON case_entry
    FOR EACH STATEMENT EXECUTE FUNCTION case_entry_refuse()
    """,
)


def upgrade() -> None:
    op.create_table(
        "case_file",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("machine", sa.String(30), nullable=False),
        sa.Column("state", sa.String(30), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.Column("is_spread", sa.Boolean(), nullable=False),
        sa.Column("key", sa.String(80)),
        sa.Column("person_id", sa.String(16)),
        sa.Column("opened_by", sa.String(40), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("entered_at", UtcDateTime(), nullable=False),
        sa.Column("assignee_id", sa.String(16)),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("clock", sa.String(30), nullable=False),
        sa.Column("clock_since", UtcDateTime()),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("remaining_s", sa.BigInteger()),
        sa.Column("held_at", UtcDateTime()),
        sa.Column("escalated_at", UtcDateTime()),
        sa.Column("escalated_to", sa.String(200), nullable=False),
        sa.Column("closed_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name="pk_case_file"),
        sa.UniqueConstraint("machine", "key", name="uq_case_file_machine_key"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_case_file_venue_id"),
        sa.ForeignKeyConstraint(["person_id"], ["user_account.id"], name="fk_case_file_person_id"),
        sa.ForeignKeyConstraint(["assignee_id"], ["user_account.id"], name="fk_case_file_assignee_id"),
    )
    op.create_index("ix_case_file_machine_state_due_at", "case_file", ["machine", "state", "due_at"])
    op.create_index("ix_case_file_machine_area_path", "case_file", ["machine", "area_path"])
    for column in ("area_path", "venue_id", "person_id", "opened_by", "opened_at", "assignee_id", "due_at"):
        op.create_index(f"ix_case_file_{column}", "case_file", [column])
    op.create_table(
        "case_place",
        sa.Column("case_id", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("area_path", sa.String(300), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6)),
        sa.PrimaryKeyConstraint("case_id", "number", name="pk_case_place"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name="fk_case_place_case_id"),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name="fk_case_place_venue_id"),
    )
    op.create_table(
        "case_entry",
        sa.Column("case_id", sa.String(16), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(40), nullable=False),
        sa.Column("step", sa.String(30), nullable=False),
        sa.Column("source", sa.String(30), nullable=False),
        sa.Column("target", sa.String(30), nullable=False),
        sa.Column("words_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("salt", sa.LargeBinary(16)),
        sa.Column("words", sa.Text()),
        sa.PrimaryKeyConstraint("case_id", "sequence", name="pk_case_entry"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name="fk_case_entry_case_id"),
    )
    op.create_index("ix_case_entry_at", "case_entry", ["at"])
    op.create_index("ix_case_entry_actor_step", "case_entry", ["actor", "step"])
    op.create_table(
        "case_note",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("case_id", sa.String(16), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("read_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name="pk_case_note"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name="fk_case_note_user_id"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name="fk_case_note_case_id"),
    )
    op.create_index("ix_case_note_case_id", "case_note", ["case_id"])
    op.create_index("ix_case_note_user_id_read_at", "case_note", ["user_id", "read_at"])
    statements = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.get(op.get_bind().dialect.name, ())
    for statement in statements:
        op.execute(statement)
