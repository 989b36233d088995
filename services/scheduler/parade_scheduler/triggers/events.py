"""Events that are published: who waits for them goes on, and workflows that begin on them are started."""

import asyncio
from collections import deque
from typing import Final

from parade.wire.errors import ParadeError, Violation, invalid
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_scheduler.document import Document
from parade_scheduler.published_event import PublishedEvent
from parade_scheduler.rights import Rights
from parade_scheduler.starts.limits import Limits
from parade_scheduler.starts.start import Caller
from parade_scheduler.storage.events_store import EventStore
from parade_scheduler.triggers.event_delivery import EventDelivery

MAX_BATCH: Final = 100
"""How many events one transaction stores at most."""


class Events:
    """Publishes events."""

    def __init__(self, store: EventStore, delivery: EventDelivery, limits: Limits, rights: Rights, clock: Clock, ids: Ids) -> None:
        """Takes where events are kept, what brings them about, the limits of namespaces, who may publish, the time, and what names them."""
        self._store = store
        self._delivery = delivery
        self._limits = limits
        self._rights = rights
        self._clock = clock
        self._ids = ids
        self._queued: deque[tuple[PublishedEvent, asyncio.Future[None]]] = deque()
        """What is to be stored, and who waits for it: no more than the requests that the process takes at once."""
        self._writing = asyncio.Lock()

    async def publish(self, caller: Caller, type: str, value: Document, event_id: str) -> str:
        """Stores an event, which is delivered from then on, and returns its id; one that is published already changes nothing.

        Args:
            caller: Who publishes it, and in which namespace.
            type: What kind of event it is.
            value: What it says, any JSON value.
            event_id: Names it; a new id where empty.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the value is too large; PERMISSION_DENIED, where a policy forbids it; NO_CAPACITY, where
                the namespace has published too many.
        """
        self._rights.publish(caller.namespace, caller.principal, type)
        if len(value.data) > self._limits.max_event_bytes:
            most, size = self._limits.max_event_bytes, len(value.data)
            raise invalid([Violation("value", f"has {size:,} bytes as JSON; an event has at most {most:,}")])
        event = PublishedEvent(caller.namespace, event_id or self._ids.new("event"), type, value, self._clock.now(), caller.trace_parent)
        try:
            await self._limits.admit_event(caller.namespace)
        except ParadeError:
            if event_id and await self._store.exists(caller.namespace, event_id):
                return event_id
            raise
        await self._stored(event)
        return event.id

    async def _stored(self, event: PublishedEvent) -> None:
        """Returns once an event is stored, in one transaction with those that others publish meanwhile."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queued.append((event, stored))
        try:
            async with self._writing:
                while not stored.done():
                    await self._write()
            stored.result()
        finally:
            stored.cancel()

    async def _write(self) -> None:
        """Stores what has queued, as much of it as one transaction takes, the oldest first."""
        batch = [self._queued.popleft() for _ in range(min(MAX_BATCH, len(self._queued)))]
        batch = [(event, stored) for event, stored in batch if not stored.done()]  # who went away wants no answer
        try:
            wanted = await self._store.publish([event for event, _ in batch])
        except Exception as error:  # noqa: BLE001  # each of those who wait is told
            for _, stored in batch:
                if not stored.done():
                    stored.set_exception(error)
        except BaseException:
            self._queued.extendleft(reversed(batch))  # storing one again changes nothing
            raise
        else:
            for (event, stored), is_wanted in zip(batch, wanted, strict=True):
                if is_wanted:
                    self._delivery.add(event)
                if not stored.done():
                    stored.set_result(None)
