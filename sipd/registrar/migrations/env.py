"""What alembic runs to bring a database up to date: on the connection that sipd gives it, in its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
