"""What Citus needs of the hot tables, and that docs/scale.md says the same as the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import UniqueConstraint, text
from sqlalchemy.exc import DBAPIError

from server.context import House
from server.db import Base, load_tables

DOC = Path(__file__).parents[3] / "docs" / "scale.md"
load_tables()
TABLES = Base.metadata.tables


def statements() -> list[str]:
    """The SQL of the page's Citus section, statement by statement."""
    section = DOC.read_text(encoding="utf-8").split("## Shards (Citus)")[1].split("\n## ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.S)
    return [one.strip() + ";" for block in blocks for one in block.split(";") if one.strip()]


def named(function: str) -> list[str]:
    return [found[1] for one in statements() if (found := re.match(rf"SELECT {function}\('(\w+)'", one))]


DISTRIBUTED = named("create_distributed_table")


def test_the_page_distributes_tables_that_exist_and_every_table_that_begins_with_a_kiosk() -> None:
    by_kiosk = {name for name, table in TABLES.items() if next(iter(table.primary_key)).name == "kiosk_id"}
    assert set(DISTRIBUTED) == by_kiosk and len(DISTRIBUTED) > 8


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_every_key_of_a_hot_table_holds_the_distribution_column(name: str) -> None:
    table = TABLES[name]
    keys = [list(table.primary_key.columns)]
    keys += [list(c.columns) for c in table.constraints if isinstance(c, UniqueConstraint)]
    keys += [list(index.columns) for index in table.indexes if index.unique]
    for columns in keys:
        assert "kiosk_id" in {column.name for column in columns}, f"{name}: {columns}"
    assert not table.foreign_keys, f"{name} refers to another table"
    assert not any(column.identity or column.autoincrement is True for column in table.columns)
    refers = [t.name for t in TABLES.values() if any(k.column.table is table for k in t.foreign_keys)]
    assert refers == [], f"{refers} refer to {name}, across shards"


@pytest.mark.stores("postgresql")
def test_the_statements_are_sql_that_plain_postgresql_reads(house: House) -> None:
    """Without the extension its functions are missing, and that is all that may be wrong with them."""
    assert len(statements()) > len(DISTRIBUTED)
    for statement in statements():
        with house.database.engine.connect() as connection:
            try:
                connection.execute(text(statement))
            except DBAPIError as error:
                code = getattr(error.orig, "sqlstate", "")
                # undefined function, extension not there, undefined schema: Citus is missing, the syntax is right
                assert code in {"42883", "0A000", "58P01", "3F000"}, f"{statement}: {error.orig}"
