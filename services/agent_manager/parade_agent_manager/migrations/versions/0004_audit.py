"""The audit log."""

from parade_chassis.audit_migration import create_audit_tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the tables."""
    create_audit_tables("agent_manager")
