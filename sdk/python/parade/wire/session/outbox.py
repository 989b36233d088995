"""When the next frame leaves. Knows time, and nothing of what a frame holds.

A frame costs the same however little it carries, so under load frames leave some time apart and carry what has gathered; with one call at
a time there is nothing to gather, and waiting would only add to its latency.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from parade.wire.session.limits import FULL_FRAME, GAP, REQUEST_GAP


@dataclass(frozen=True, slots=True)
class Pace:
    """How far apart frames leave."""

    gap: float
    """Seconds."""
    alone: bool
    """Whether that holds for an entry too that is alone, as the one before it was; otherwise it leaves at once."""


CALLS: Final = Pace(GAP, alone=False)
"""For what may be answered within a millisecond."""
REQUESTS: Final = Pace(REQUEST_GAP, alone=True)
"""For what is stored before it is answered, so that a few milliseconds more are little beside what the answer takes."""


class Outbox:
    """Wakes whoever writes: at once when little goes on, some time after the last frame otherwise.

    Nothing is waited for where a frame is full already, or where no call is under way that could add to it: callers in lock step.
    The writer asks `due`, writes a frame, says so by `left`, and asks again: so one write is under way at a time.
    """

    __slots__ = ("_closed", "_loop", "_many", "_pace", "_pending", "_under_way", "_waiter", "last_left", "ready")

    def __init__(
        self, pending: Callable[[], int], under_way: Callable[[], int], loop: asyncio.AbstractEventLoop, pace: Pace = CALLS
    ) -> None:
        """Makes one that has nothing to write.

        Args:
            pending: Tells how many entries wait.
            under_way: Tells how many calls are under way beside them, of which more may come.
            loop: Tells the time.
            pace: How far apart frames leave.
        """
        self._pending = pending
        self._under_way = under_way
        self._loop = loop
        self._pace = pace
        self._waiter: asyncio.Future[None] | None = None
        self.ready = False
        """Whether there is something to write: the writer has been woken."""
        self._closed = False
        self._many = False
        self.last_left = float("-inf")
        """When the last frame left, in the loop's time."""

    @property
    def closed(self) -> bool:
        """Whether there is nothing more to write."""
        return self._closed

    def wake(self) -> None:
        """Says that there is something to write. Everything of this turn of the loop travels together."""
        if self.ready:
            return
        self.ready = True
        self._release()

    def close(self) -> None:
        """Ends the wait: the writer is told that there is nothing more to write."""
        self._closed = True
        self._release()

    def left(self, entries: int) -> None:
        """Says that a frame leaves now, and how many entries it holds."""
        self.last_left = self._loop.time()
        self._many = entries > 1

    async def due(self) -> bool:
        """Returns True when a frame is to leave, False once closed."""
        while not self.ready and not self._closed:
            await self._wait()
        if not self._closed and self._may_gather():
            until = self.last_left + self._pace.gap
            if until > self._loop.time():
                timer = self._loop.call_at(until, self._release)
                try:
                    await self._wait()
                finally:
                    timer.cancel()
        self.ready = False
        return not self._closed

    def _may_gather(self) -> bool:
        pending = self._pending()
        return (self._many or pending > 1 or self._pace.alone) and pending < FULL_FRAME and self._under_way() > 0

    def _release(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
