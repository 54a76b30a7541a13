"""What a thief with the database, or somebody with its owner's rights, can do: the same on both stores."""

from __future__ import annotations

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from server.context import House


def everything_stored(house: House) -> bytes:
    """All that the database holds, as bytes: its files (SQLite), or every column of every row (PostgreSQL)."""
    if not house.database.is_postgresql:
        return b"".join(path.read_bytes() for path in sorted(house.settings.data_dir.glob("server.db*")))
    found: list[bytes] = []
    with house.database.reading() as reading:
        for table in inspect(reading.connection()).get_table_names():
            for row in reading.execute(text(f'SELECT * FROM "{table}"')):
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row]
    return b"\n".join(found)


def without_triggers(writing: Session, table: str) -> None:
    """Take away what refuses to change *table*, as its owner can."""
    if writing.get_bind().dialect.name == "postgresql":
        writing.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    names = writing.scalars(
        text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"), {"table": table}
    ).all()
    for name in names:
        writing.execute(text(f"DROP TRIGGER {name}"))
