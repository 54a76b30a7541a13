"""Cases by state and place, so that an inbox is looked up and not searched for, and lists with a filter are short."""

import sqlalchemy as sa
from alembic import op

revision = "0151_open_cases"
down_revision = "0094_cases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        is_open = "closed_at IS NULL"
        _index("ix_case_file_open", ["machine", "state", "is_spread", "area_path"], is_open, is_open)
        _index("ix_case_file_open_opened_at", ["machine", "opened_at", "id"], is_open, is_open)
        _index("ix_case_file_spread", ["machine", "state"], "is_spread IS 1", "is_spread IS true")
        _index("ix_case_file_machine_state_opened_at_id", ["machine", "state", "opened_at", "id"])
        _index("ix_case_file_machine_title_id", ["machine", "title", "id"])
        for column in ("opened_by", "assignee_id", "person_id"):
            _index(f"ix_case_file_{column}_id", [column, "id"])
        for replaced in ("machine_state_due_at", "opened_by", "assignee_id", "person_id"):
            op.drop_index(f"ix_case_file_{replaced}", "case_file", if_exists=True, postgresql_concurrently=True)


def _index(name: str, columns: list[str], sqlite: str = "", postgresql: str = "") -> None:
    op.create_index(
        name,
        "case_file",
        columns,
        if_not_exists=True,  # each is its own transaction: a step that was cut off goes on
        sqlite_where=sa.text(sqlite) if sqlite else None,
        postgresql_where=sa.text(postgresql) if postgresql else None,
        postgresql_concurrently=True,
    )
