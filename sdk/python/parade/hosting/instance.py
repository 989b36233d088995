"""A running instance, as its process and a test see it."""

import asyncio
from dataclasses import dataclass, field

from parade.hosting.capacity import Capacity

READY_TIMEOUT = 30.0


@dataclass(slots=True)
class Instance:
    """A running instance."""

    id: str
    """Its id, unique in the mesh."""
    agent: str
    """The agent that it is a copy of."""
    address: str
    """Where dispatchers reach it: `host:port`."""
    server_name: str
    """The DNS name in its certificate."""
    capacity: Capacity
    """What it carries."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once dispatchers can know of it."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is to leave, whoever says so."""
    failure: BaseException | None = None
    """What went wrong, where it must leave for that."""

    def loop_ended(self, loop: "asyncio.Task[None]") -> None:
        """Takes note of a background loop that ended: half an instance is worse than none, so it leaves."""
        if not loop.cancelled():
            self.failure = self.failure or loop.exception() or RuntimeError(f"the {loop.get_name()} loop ended")
            self.leaving.set()

    async def wait_until_ready(self) -> None:
        """Waits until dispatchers can know of it.

        Raises:
            TimeoutError: That took longer than 30 s.
            ParadeError: The mesh does not take it.
        """
        events = [asyncio.create_task(event.wait()) for event in (self.ready, self.leaving)]
        try:
            done, _ = await asyncio.wait(events, timeout=READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                event.cancel()
        if self.failure is not None:
            raise self.failure
        if not done:
            raise TimeoutError(f"{self.agent} was not registered within {READY_TIMEOUT:.0f} s")
