"""How many calls an instance runs, how many it may, and whether it takes more."""

import asyncio
from contextlib import suppress

from parade.wire.errors import ParadeError, Reason


class Capacity:
    """Counts the calls that run. A call in a thread counts until the thread is free again, however long nobody waits for it any more."""

    def __init__(self, maximum: int) -> None:
        """Takes how many calls may run at once."""
        self.maximum = maximum
        self.in_flight = 0
        self.completed = 0
        self.draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()

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
        self._idle.clear()

    def give_back(self) -> None:
        """Gives a call's place back, in the event loop."""
        self.in_flight -= 1
        self.completed += 1
        if self.in_flight == 0:
            self._idle.set()

    def give_back_from_thread(self) -> None:
        """Gives a call's place back, in any thread."""
        with suppress(RuntimeError):  # the event loop has ended, and with it the counting
            self._loop.call_soon_threadsafe(self.give_back)

    async def drain(self, timeout: float) -> bool:
        """Takes no new calls and waits until those that run have ended; returns whether they have within `timeout` seconds."""
        self.draining = True
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
