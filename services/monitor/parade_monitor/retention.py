"""How long records are kept: so many days, and so many rows a table. Once a minute what is over is deleted, a bounded batch at a time."""

from datetime import timedelta

from sqlalchemy import Table

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_monitor.store import AGES, Store

INTERVAL = 60.0
"""Seconds from one round to the next."""
BATCH_ROWS = 5_000
"""Rows that one transaction deletes: few enough that writing waits no longer than a moment."""
MAX_BATCHES = 100
"""Batches a table and round; the rest goes in the next round."""


class Retention:
    """Deletes what is over."""

    def __init__(self, store: Store, clock: Clock, log: Log, *, days: float, most_rows: int) -> None:
        """Takes the bounds.

        Args:
            store: Where records are.
            clock: The time.
            log: Where it says that a round failed.
            days: How long a record is kept.
            most_rows: How many rows of each table are kept.
        """
        self._store = store
        self._clock = clock
        self._log = log
        self._age = timedelta(days=days)
        self._most_rows = most_rows

    async def run(self) -> None:
        """Deletes once a minute, for good."""
        while True:
            await self._clock.sleep(INTERVAL)
            try:
                for table in AGES:
                    await self._sweep(table)
            except ParadeError as error:
                self._log.warning("old records not deleted", error=repr(error.__cause__))

    async def _sweep(self, table: Table) -> None:
        before = int((self._clock.now() - self._age).timestamp() * 1e9)
        for _ in range(MAX_BATCHES):
            if await self._store.delete_old(table, before, self._most_rows, BATCH_ROWS) < BATCH_ROWS:
                return
