"""Alembic's environment: runs the revisions on the given connection."""

from __future__ import annotations

from alembic import context

from persistence import schema
from persistence.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
