"""What is due and what one certificate is about, found without reading every epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0145_open_epochs"
down_revision = "0122_retention"
branch_labels = None
depends_on = "0010_journals"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _index("ix_epoch_open_received_at", ["received_at", "kiosk_id", "epoch"], "destroyed_at IS NULL")
        _index("ix_epoch_open_epoch", ["epoch"], "destroyed_at IS NULL")
        _index("ix_epoch_destroyed_at", ["destroyed_at"])


def _index(name: str, columns: list[str], where: str | None = None) -> None:
    only = sa.text(where) if where else None
    op.create_index(
        name,
        "epoch",
        columns,
        if_not_exists=True,  # each is its own transaction: a step that was cut off goes on
        sqlite_where=only,
        postgresql_where=only,
        postgresql_concurrently=True,
    )
