"""The tables of the scheduler's audit log."""

from typing import Final

from parade_chassis.audit_log import AuditTables
from parade_scheduler.storage.metadata import METADATA

AUDIT: Final = AuditTables("scheduler", METADATA)
