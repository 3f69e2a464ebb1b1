"""What alembic runs to bring a database up to date: on the connection that sipd gives it, in its transaction."""

from __future__ import annotations

from alembic import context

# The bindings may be in the same database; their version is in alembic's own table.
context.configure(connection=context.config.attributes["connection"], version_table="accounts_version")
context.run_migrations()
