"""Keeps the leases of a replica for as long as it lives, and hands shards over where others are to have them."""

from collections.abc import Callable, Collection
from typing import Final

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.leading.journal import Journal
from parade_scheduler.leading.ownership import LeasedShards

RENEWAL: Final = 2.0
"""Seconds between two renewals."""
_LOOK: Final = 0.05
"""Seconds between two looks, at the end of the process, whether calls have ended."""


class Keeper:
    """Keeps the leases of a replica, takes runs over, and hands them over."""

    def __init__(
        self, shards: LeasedShards, journal: Journal, take_over: Callable[[Collection[int]], None], clock: Clock, log: Log
    ) -> None:
        """Takes the shards, who leads their runs, who takes up the runs of new ones, the time and the log."""
        self._shards = shards
        self._journal = journal
        self._take_over = take_over
        self._clock = clock
        self._log = log
        self._leaving = False

    async def claim(self) -> None:
        """Claims once, as the process does before it serves.

        Raises:
            ParadeError: UNAVAILABLE, where the database cannot be reached.
        """
        new, lost = await self._shards.claim(more=not self._leaving)
        if lost:
            self._journal.drop(lost)
        if new:
            self._take_over(new)

    async def keep(self) -> None:
        """Renews and shares out for as long as the process lives."""
        while True:
            await self._clock.sleep(RENEWAL)
            try:
                await self.claim()
                surplus = set() if self._leaving else await self._shards.surplus()
                if surplus:
                    await self._hand_over(surplus)
            except (ParadeError, TimeoutError) as error:
                # Nothing can be written meanwhile either; whoever takes the shards over is found out by the first write.
                self._log.warning("leases could not be renewed", error=str(error))

    async def leave(self, seconds: float) -> None:
        """Hands everything over, at the end of the process: at once where no call is under way, the rest when its calls have ended.

        Args:
            seconds: How long calls may take; what has not ended by then is left to the next owner, who asks after it.
        """
        self._leaving = True
        deadline = self._clock.monotonic() + seconds
        try:
            if not await self._shards.are_others():
                return
            while self._shards.held:
                busy = self._journal.busy() if self._clock.monotonic() < deadline else set()
                free = set(self._shards.held) - busy
                if free:
                    await self._hand_over(free)
                else:
                    await self._clock.sleep(_LOOK)
        except ParadeError as error:
            # The calls under way come to their end all the same, and the leases to theirs.
            self._log.warning("shards could not be handed over", error=str(error))

    async def _hand_over(self, shards: Collection[int]) -> None:
        # From here on nothing more is decided on their runs; what is being written has the lock on the shards' rows.
        self._shards.give_up(shards)
        self._journal.drop(shards)
        reached("on_handover")
        await self._shards.release(shards)
        self._log.info("shards handed over", count=len(shards), held=len(self._shards.held))
