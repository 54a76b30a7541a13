"""What the console's first page counts of the codes, from an index alone."""

from alembic import op

revision = "0152_code_counts"
down_revision = "0002_venue_codes"
branch_labels = None
depends_on = "0123_places"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_venue_code_counts",
            "venue_code",
            ["state", "expires_at", "area_path", "venue_id", "issued_at"],
            if_not_exists=True,  # each is its own transaction: a step that was cut off goes on
            postgresql_concurrently=True,
        )
        op.drop_index("ix_venue_code_state_expires_at", "venue_code", if_exists=True, postgresql_concurrently=True)
