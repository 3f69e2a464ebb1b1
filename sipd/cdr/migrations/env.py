"""What alembic runs to bring the table of call records up to date: on a connection that it gets, in its transaction."""

from __future__ import annotations

from alembic import context

# The same database may hold tables of other parts of sipd, which have a version of their own.
context.configure(connection=context.config.attributes["connection"], version_table="call_records_version")
context.run_migrations()
