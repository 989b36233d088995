"""What the contracts of the scheduler's store share."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from parade_chassis.store import Database
from parade_scheduler.document import Document
from parade_scheduler.model import Run
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.store import Change
from parade_scheduler.storage.tables import METADATA

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
RUN = Run("run-1", "default", "report", 1, Document(b'{"a": "\\u0000"}'), NOW)


def new(run: Run, **others: Any) -> Change:
    """Returns what begins a run."""
    return Change(run, 1, is_new=True, **others)


def numbered(number: int, **others: Any) -> Run:
    """Returns a run of a number below 1,000, in the shard of the number."""
    return replace(RUN, id=f"run-{number:03}-{number % 64:02}", **others)


async def row_counts(database: Database) -> dict[str, int]:
    """Returns how many rows the tables hold that hold any; the audit log, which only grows, is left out."""
    async with database.reading() as connection:
        counts = {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in METADATA.sorted_tables
            if table not in (AUDIT.entries, AUDIT.heads)
        }
    return {name: count for name, count in counts.items() if count}
