"""Those who want to know of every change: each has a bounded queue of its own, and one that falls behind is sent away."""

from asyncio import Queue, QueueFull
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from math import inf
from typing import Generic, Protocol, TypeVar

from parade.wire.errors import ParadeError, Reason
from parade_agent_manager.model import Agent, Instance
from parade_agent_manager.waits import Waits

Change = Agent | Instance
"""An agent or an instance as it is after the change."""


class Placed(Protocol):
    """What is in a namespace."""

    @property
    def namespace(self) -> str:
        """The namespace; empty for what belongs to the whole mesh."""
        ...


ChangeT = TypeVar("ChangeT", bound=Placed)


class Watcher(Generic[ChangeT]):
    """One reader: the picture at the moment it came, then every change since, in order."""

    def __init__(self, namespace: str, picture: Iterable[ChangeT], capacity: int, waits: Waits) -> None:
        """Takes what the reader sees; made by who knows the picture.

        Args:
            namespace: The namespace whose changes it wants; empty for all.
            picture: All there is at this moment.
            capacity: How many changes may wait.
            waits: What ends its waiting when the process stops.
        """
        self._picture = deque(picture)
        self._namespace = namespace
        self._queue: Queue[ChangeT] = Queue(capacity)
        self._waits = waits
        self._behind = False

    def offer(self, change: ChangeT) -> None:
        """Queues a change, or marks the reader as too slow."""
        if self._namespace not in ("", change.namespace):
            return
        try:
            self._queue.put_nowait(change)
        except QueueFull:
            self._behind = True

    def picture(self) -> Iterator[ChangeT]:
        """Yields what there was when the reader came, once."""
        while self._picture:
            yield self._picture.popleft()

    async def changes(self) -> AsyncIterator[ChangeT]:
        """Yields the changes since the picture.

        Raises:
            ParadeError: NO_CAPACITY where the reader is too slow: a change is missing, so that it must start over. UNAVAILABLE where the
                process stops.
        """
        wait = self._waits.bounded(inf)
        while True:
            with wait:
                change = await self._queue.get()
            if self._behind:
                raise ParadeError(
                    Reason.NO_CAPACITY, f"more than {self._queue.maxsize} changes wait for this reader; open the stream again"
                )
            yield change
