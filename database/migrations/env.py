"""Alembic's environment: runs migrations on the one connection that `database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
