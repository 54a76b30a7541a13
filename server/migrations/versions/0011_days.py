"""Journal records in partitions by the day they were received (PostgreSQL); SQLite keeps its one table."""

import sqlalchemy as sa
from alembic import op

revision = "0011_days"
down_revision = "0010_journals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE journal_record RENAME TO journal_record_whole")
    op.execute("ALTER TABLE journal_record_whole RENAME CONSTRAINT pk_journal_record TO pk_journal_record_whole")
    op.execute("DROP INDEX ix_journal_record_venue_id_at_ms")
    op.execute(
        "CREATE TABLE journal_record (LIKE journal_record_whole INCLUDING DEFAULTS) PARTITION BY RANGE (received_day)"
    )
    # a unique key holds the partition's column; exactly-once is held by `journal` (docs/decisions/0060 and 0109)
    op.execute(
        "ALTER TABLE journal_record ADD CONSTRAINT pk_journal_record PRIMARY KEY (kiosk_id, sequence, received_day)"
    )
    op.create_index("ix_journal_record_venue_id_at_ms", "journal_record", ["venue_id", "at_ms"])
    days = connection.execute(
        sa.text(
            "SELECT DISTINCT received_day, to_char(DATE '1970-01-01' + received_day, 'YYYYMMDD')"
            " FROM journal_record_whole"
        )
    ).all()
    for day, name in days:
        op.execute(
            f"CREATE TABLE journal_record_{name} PARTITION OF journal_record FOR VALUES FROM ({day:d}) TO ({day + 1:d})"
        )
    op.execute("INSERT INTO journal_record SELECT * FROM journal_record_whole")
    op.execute("DROP TABLE journal_record_whole")
