"""What alembic runs for the dispatcher."""

from parade_chassis.migrate import run

run()
