"""How many calls an instance runs, how many it may, and whether it takes more."""

import asyncio

from parade.wire.errors import ParadeError, Reason


class Capacity:
    """Counts the calls that run. A call counts until its function has ended, however long nobody waits for it any more."""

    __slots__ = ("_idle", "completed", "draining", "in_flight", "maximum")

    def __init__(self, maximum: int) -> None:
        """Takes how many calls may run at once."""
        self.maximum = maximum
        self.in_flight = 0
        self.completed = 0
        self.draining = False
        self._idle: asyncio.Event | None = None

    def take(self) -> None:
        """Takes a place for a call; `give_back` must follow.

        Raises:
            ParadeError: NO_CAPACITY where the instance is full or leaving.
        """
        if self.draining:
            raise ParadeError(Reason.NO_CAPACITY, "the instance is leaving and takes no new calls")
        if self.in_flight >= self.maximum:
            raise ParadeError(Reason.NO_CAPACITY, f"the instance runs {self.maximum} calls already")
        self.in_flight += 1

    def give_back(self) -> None:
        """Gives a call's place back, in the event loop."""
        self.in_flight -= 1
        self.completed += 1
        if self._idle is not None and self.in_flight == 0:
            self._idle.set()

    async def drain(self, timeout: float) -> bool:
        """Takes no new calls and waits until those that run have ended; returns whether they have within `timeout` seconds."""
        self.draining = True
        self._idle = asyncio.Event()
        if self.in_flight == 0:
            self._idle.set()
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
