"""What alembic runs for the agent_manager."""

from parade_chassis.migrate import run

run()
