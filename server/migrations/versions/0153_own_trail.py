"""What somebody did last, found without going through what all others did."""

from alembic import op

revision = "0153_own_trail"
down_revision = "0001_frame"
branch_labels = ("audit",)
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_audit_event_actor_sequence",
            "audit_event",
            ["actor", "sequence"],
            if_not_exists=True,  # each is its own transaction: a step that was cut off goes on
            postgresql_concurrently=True,
        )
        op.drop_index("ix_audit_event_actor", "audit_event", if_exists=True, postgresql_concurrently=True)
