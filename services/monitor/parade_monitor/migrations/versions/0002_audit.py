"""The audit log."""

from parade_chassis.audit_migration import create_audit_tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables. What a monitor of an older version refuses meanwhile is not recorded."""
    create_audit_tables("monitor")
