"""Run by alembic."""

from parade_chassis.migrate import run

run()
