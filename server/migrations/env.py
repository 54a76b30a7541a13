"""Alembic's entry: runs the steps on the connection that `server.migrations.upgrade` hands over."""

from alembic import context

from server.db import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # true on SQLite too, because server/db.py says BEGIN itself
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
