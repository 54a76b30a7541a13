"""Statements of the exchange: written with SQLAlchemy, compiled once, and run on the driver's own cursor.

An exchange of fifty passages costs a millisecond or two, and a dozen statements through the object mapper cost more
than that. Names, types and the database's dialect still come from the tables' definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.expression import Executable

_CURSOR = "gatehouse_cursor"  # in a connection's `info`, which goes with it


class Statement:
    """One statement with named values; no `IN` of a list whose length is open. Compiled once for each dialect.

    Rows come as the driver gives them: select numbers, texts and byte strings, no moments and no JSON.
    Raises KeyError when a value is missing.
    """

    __slots__ = ("_compiled", "_core")

    def __init__(self, core: Executable) -> None:
        self._core = core
        self._compiled: dict[str, Compiled] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Run it with *values* on the connection as it is, in its transaction if it has one; the driver's cursor, to be
        read before the next statement runs there."""
        compiled = self.compiled(connection.dialect)
        return _execute(connection, compiled.text, compiled.bound(values))

    def row(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row, or None."""
        found: tuple[Any, ...] | None = self.run(connection, values).fetchone()
        return found

    def compiled(self, dialect: Dialect) -> Compiled:
        """It in the words of *dialect*."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = Compiled(self._core, dialect)
        return found


def run_all(connection: Connection, changes: tuple[Statement, ...], values: Mapping[str, Any]) -> None:
    """Run *changes*, each of a table of its own, with all the *values* any of them names.

    PostgreSQL, where each statement is a journey to another process and back, gets them as one.
    """
    if connection.dialect.name != "postgresql" or len(changes) < 2:
        for change in changes:
            change.run(connection, values)
        return
    sql, compiled = _as_one(changes, connection.dialect)
    bound: dict[str, Any] = {}
    for one in compiled:
        bound |= one.bound(values)
    _execute(connection, sql, bound)


def _execute(connection: Connection, sql: str, bound: Any) -> Any:
    pooled = connection.connection
    driver: Any = pooled.driver_connection
    runs = driver
    if connection.dialect.name == "postgresql":  # a cursor of psycopg costs as much to make as its statement to run
        runs = pooled.info.get(_CURSOR)
        if runs is None:
            runs = pooled.info[_CURSOR] = driver.cursor()
    try:
        return runs.execute(sql, bound)
    except psycopg.OperationalError as error:  # as SQLAlchemy does it: a lost connection goes back to no pool
        if is_lost := bool(driver.closed):
            connection.invalidate(error)
        raise OperationalError(sql, None, error, connection_invalidated=is_lost) from error


@cache
def _as_one(changes: tuple[Statement, ...], dialect: Dialect) -> tuple[str, list[Compiled]]:
    compiled = [change.compiled(dialect) for change in changes]
    *before, last = [one.text for one in compiled]
    named = ", ".join(f"change_{number} AS ({one})" for number, one in enumerate(before))
    return f"WITH {named} {last}", compiled


class Compiled:
    """The text for one dialect, and how values are handed over."""

    def __init__(self, core: Executable, dialect: Dialect) -> None:
        compiled: Any = core.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.text = str(compiled)
        self._is_by_place = compiled.positiontup is not None
        self._order: list[str] = compiled.positiontup or list(compiled.binds)
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._into: dict[str, Callable[[Any], Any]] = {}
        for name, bind in compiled.binds.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if convert is not None:
                self._into[name] = convert

    def bound(self, values: Mapping[str, Any]) -> Any:
        """*values* as the driver takes them: by place or by name."""
        ready = {**self._fixed, **values}
        for name, convert in self._into.items():
            ready[name] = convert(ready[name])
        if self._is_by_place:
            return [ready[name] for name in self._order]
        return {name: ready[name] for name in self._order}
