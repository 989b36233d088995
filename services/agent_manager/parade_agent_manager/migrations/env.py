"""What alembic runs for the agent_manager."""  # noqa: INP001 - alembic loads it by its path

from parade_chassis.migrate import run

run()
