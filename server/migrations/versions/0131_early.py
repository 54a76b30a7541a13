"""Records that came before the chain reached them, and how many of each kiosk there are."""

import sqlalchemy as sa
from alembic import op

revision = "0131_early"
down_revision = "0011_days"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("journal", sa.Column("early", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "early_record",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("exchange", sa.LargeBinary(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("venue_id", sa.LargeBinary(6), nullable=False),
        sa.Column("entrance", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(8)),
        sa.Column("event", sa.String(64)),
        sa.PrimaryKeyConstraint("kiosk_id", "sequence", name="pk_early_record"),
    )
    op.create_table(
        "early_upload",
        sa.Column("kiosk_id", sa.LargeBinary(8), nullable=False),
        sa.Column("exchange", sa.LargeBinary(16), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_id", "exchange", name="pk_early_upload"),
    )
