"""What alembic runs: every service's `migrations/env.py` is one call of `run`."""

from alembic import context


def run() -> None:
    """Applies the migrations over the connection that the store opened."""
    attributes = context.config.attributes
    context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
    context.run_migrations()
