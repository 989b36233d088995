"""What alembic runs for the scheduler."""

from parade_chassis.migrate import run

run()
