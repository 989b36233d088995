"""Waits on a stream: each has a deadline, and all end when the process stops, so that no open stream holds up its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parade.wire.errors import ParadeError, Reason


class Waits:
    """The waits under way."""

    def __init__(self) -> None:
        """Starts with none."""
        self._timers: set[asyncio.Timeout] = set()
        self._ended = False

    @asynccontextmanager
    async def bounded(self, seconds: float | None) -> AsyncIterator[None]:
        """Bounds the waiting that the block does.

        Args:
            seconds: How long it may wait; None where only the end of the process limits it.

        Raises:
            ParadeError: DEADLINE_EXCEEDED where nothing came; UNAVAILABLE where the process stops.
        """
        try:
            async with asyncio.timeout(0 if self._ended else seconds) as timer:
                self._timers.add(timer)
                try:
                    yield
                finally:
                    self._timers.discard(timer)
        except TimeoutError as error:
            if self._ended:
                raise ParadeError(Reason.UNAVAILABLE, "the agent_manager is stopping; open the stream again") from error
            raise ParadeError(Reason.DEADLINE_EXCEEDED, f"nothing came for {seconds:g} seconds") from error

    def end(self) -> None:
        """Ends every wait, and every one to come at once."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for timer in self._timers:
            if not timer.expired():
                timer.reschedule(now)
