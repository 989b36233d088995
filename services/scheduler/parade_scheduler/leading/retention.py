"""Forgets runs that ended long ago, a few at a time, so that what people wait for is never held up."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.storage.store import Store

INTERVAL: Final = 60.0
"""Seconds between two looks whether there is something to forget."""
BATCH: Final = 200
"""How many runs are forgotten in one transaction."""
_BREATH: Final = 0.05
"""Seconds between two of them."""


async def forget_old_runs(store: Store, days: int, leads: Callable[[], bool], clock: Clock, log: Log) -> None:
    """Forgets, for as long as the process lives.

    Args:
        store: Where the runs are.
        days: How long a run is kept after its end.
        leads: Tells whether it is this replica's turn; one of them does it for all.
        clock: Gives the time.
        log: Is told how many were forgotten.
    """
    while True:
        await clock.sleep(INTERVAL)
        count = 0
        try:
            while leads():
                forgotten = await store.forget(clock.now() - timedelta(days=days), BATCH)
                count += forgotten
                if forgotten < BATCH:
                    break
                await clock.sleep(_BREATH)
        except ParadeError as error:
            log.warning("old runs could not be forgotten", error=str(error))
        if count:
            log.info("old runs forgotten", count=count)
