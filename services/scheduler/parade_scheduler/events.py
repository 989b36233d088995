"""Events that are published: who waits for them goes on, and workflows that begin on them are started."""

from parade.wire.errors import ParadeError, Violation, invalid
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_scheduler.document import Document
from parade_scheduler.event_delivery import EventDelivery
from parade_scheduler.events_store import EventStore
from parade_scheduler.limits import Limits
from parade_scheduler.published_event import PublishedEvent
from parade_scheduler.start import Caller


class Events:
    """Publishes events."""

    def __init__(self, store: EventStore, delivery: EventDelivery, limits: Limits, clock: Clock, ids: Ids) -> None:
        """Takes where events are kept, what brings them about, what a namespace may have, the time, and what names events."""
        self._store = store
        self._delivery = delivery
        self._limits = limits
        self._clock = clock
        self._ids = ids

    async def publish(self, caller: Caller, type: str, value: Document, event_id: str) -> str:
        """Stores an event, which is delivered from then on, and returns its id; one that is published already changes nothing.

        Args:
            caller: Who publishes it, and in which namespace.
            type: What kind of event it is.
            value: What it says, any JSON value.
            event_id: Names it; a new id where empty.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the value is too large; NO_CAPACITY, where the namespace has published too many.
        """
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
        if await self._store.publish(event):
            self._delivery.add(event)
        return event.id
