"""Database migrations: each subject grows its own branch of steps from 0001, so that no author waits for another.

A new step is a file `versions/NNNN_words.py` (take the next free number; `ls` shows it) with

    revision = "NNNN_words"
    down_revision = "0001_frame"    # the first step of a subject; later ones name the subject's previous step
    branch_labels = ("subject",)    # on the first step of a subject only

and, where it needs another subject's tables, `depends_on = "0002_venue_codes"`. `upgrade` runs every branch to its end.
A released step is never edited; a step and its record in alembic_version commit together or not at all, on SQLite too.
There are no downgrades: a backup is the way back.

On PostgreSQL the server goes on serving while a step runs. So a step takes no lock that stops everybody for long:
a new column is nullable or has a constant default; a check or a foreign key is added NOT VALID and validated in a
second step; an index on a table that grows with the passages is made with CREATE INDEX CONCURRENTLY inside
`op.get_context().autocommit_block()`, and on journal_record partition by partition, then attached (docs/scale.md).
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine

from config.errors import GatehouseError

LOCK_TIMEOUT_MS = 5000  # then the step fails, nothing has changed, and it can be run again at a quieter moment


class SchemaError(GatehouseError):
    """The database's tables are not those of this version."""

    code = "schema"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(engine: Engine) -> None:
    """Bring the database to this version's tables; does nothing when it is there already."""
    config = _config()
    with engine.execution_options(gatehouse_writes=True).connect() as connection:
        if connection.dialect.name == "postgresql":
            # one at a time, as long as it takes; but no step waits long for a lock, since all others would wait behind
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("SET lock_timeout = 0")
            connection.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_lock(hashtextextended('gatehouse migrations', 0))")
            connection.exec_driver_sql(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
            connection.commit()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "heads")
        finally:
            if connection.dialect.name == "postgresql":
                connection.invalidate()  # with the settings above, and with the lock, it goes back to no pool


def check_current(engine: Engine) -> None:
    """Raise SchemaError when the database is older or newer than this version."""
    script = ScriptDirectory.from_config(_config())
    wanted = set(script.get_heads())
    with engine.connect() as connection:
        found = set(MigrationContext.configure(connection).get_current_heads())
    try:  # a head that another branch depends on has no row of its own: follow the branches down
        reached = {step.revision for step in script.get_all_current(tuple(found))}
    except CommandError:  # a step that this version does not know: the database is newer
        reached = set()
    if not wanted <= reached:
        raise SchemaError(
            f"The database is at {sorted(found) or 'nothing'}; this version wants {sorted(wanted)}.",
            hint="Bring it up with: gatehouse admin upgrade (make a backup first).",
        )
