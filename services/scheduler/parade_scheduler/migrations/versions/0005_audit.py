"""The audit log."""

from parade_chassis.audit_migration import create_audit_tables

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Makes the tables. What a replica of an older version does meanwhile is not recorded."""
    create_audit_tables("scheduler")
