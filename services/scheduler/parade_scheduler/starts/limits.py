"""What a namespace may have at most, so that one cannot take what all share. Refusals say the limit."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_chassis.clock import Clock
from parade_scheduler.config import Config
from parade_scheduler.document import Document
from parade_scheduler.storage.events_store import EventStore
from parade_scheduler.storage.groups_store import GroupStore
from parade_scheduler.storage.store import Store

FRESH: Final = 10.0
"""Seconds for which a count is used, with what was let in since, while it is below its limit."""
FRESH_WHEN_FULL: Final = 0.1
"""Seconds for which it is where it has reached its limit."""


@dataclass(slots=True)
class _Count:
    number: int
    read_at: float
    """In seconds that never run backwards."""
    let_in: int = 0
    """How many of them were let in since. Some may have ended again."""
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who counts."""


class Bound:
    """How many things of a kind a namespace may have.

    The store counts them now and then, and what is let in between is added. While a count is fresh other replicas let in as well, so that a
    namespace can come to have somewhat more than it may.
    """

    def __init__(self, what: str, limit: int, count: Callable[[str], Awaitable[int]], clock: Clock) -> None:
        """Takes what is counted, as messages call it, how many there may be, what counts those of a namespace, and the time."""
        self.limit = limit
        self._what = what
        self._count = count
        self._clock = clock
        self._known: dict[str, _Count] = {}

    async def admit(self, namespace: str) -> None:
        """Lets in one more.

        Raises:
            ParadeError: NO_CAPACITY, where the namespace has as many as it may; UNAVAILABLE, where they cannot be counted.
        """
        known = self._known.setdefault(namespace, _Count(0, -FRESH))
        is_full = known.number >= self.limit
        if is_full and known.counting.locked():
            async with known.counting:
                pass  # there may be room again: who counts will know
        elif self._clock.monotonic() - known.read_at >= (FRESH_WHEN_FULL if is_full else FRESH) or (is_full and known.let_in):
            known.read_at = self._clock.monotonic()  # others go on with the count that there is, instead of counting as well
            async with known.counting:
                known.let_in = 0
                known.number = await self._count(namespace)
        if known.number >= self.limit:
            message = f"the namespace `{namespace}` has {known.number:,} {self._what} and may have {self.limit:,}; try again later"
            raise ParadeError(Reason.NO_CAPACITY, message, metadata={"limit": str(self.limit), "retry_after": "1"})
        known.number += 1
        known.let_in += 1


class Limits:
    """The limits of every namespace.

    Attributes:
        max_event_bytes: The largest value of an event, as JSON.
        max_schedules: How many schedules a namespace may have.
    """

    def __init__(self, config: Config, store: Store, groups: GroupStore, events: EventStore, clock: Clock) -> None:
        """Takes what is allowed, where things are counted, and the time."""
        self.max_event_bytes = config.max_event_bytes
        self.max_schedules = config.max_schedules_per_namespace
        self._max_input_bytes = config.max_input_bytes
        self._runs = Bound("runs that go on", config.max_runs_per_namespace, store.active, clock)
        self._waiting = Bound("runs that wait for their concurrency group", config.max_waiting_per_namespace, groups.count_waiting, clock)
        self._events = Bound("events of the last day", config.max_events_per_namespace, events.count, clock)

    async def admit_run(self, namespace: str, group: str) -> None:
        """Lets a run of a namespace start, in a concurrency group where one is named.

        Raises:
            ParadeError: NO_CAPACITY, where the namespace has as many runs as it may.
        """
        await self._runs.admit(namespace)
        if group:
            await self._waiting.admit(namespace)

    async def admit_event(self, namespace: str) -> None:
        """Lets an event of a namespace be published.

        Raises:
            ParadeError: NO_CAPACITY, where the namespace has as many events as it may.
        """
        await self._events.admit(namespace)

    def check_inputs(self, inputs: Document) -> None:
        """Raises INVALID_ARGUMENTS where a run's inputs are too large."""
        size = len(inputs.data)
        if size > self._max_input_bytes:
            raise invalid([Violation("inputs", f"have {size:,} bytes as JSON; a run's have at most {self._max_input_bytes:,}")])
