"""Brings published events to the runs that wait for them and to the workflows that begin on them.

An event is told to every run that waits for its type and may want it; whether a task does, the run decides. The replica that has taken
an event brings it about at once; each replica looks from time to time for events of its shards that somebody has not got yet. Which runs
were told is noted in the same transaction, and runs that an event starts are named by it, so that nothing of it happens twice.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, Final

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.decider import EventReceived
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.document import Document
from parade_scheduler.language.definition import Trigger
from parade_scheduler.leading.postponed import Postponed
from parade_scheduler.leading.remote import Inbox, Outbox
from parade_scheduler.published_event import EventTrigger, PublishedEvent
from parade_scheduler.refusal import PASSING
from parade_scheduler.starts.start import Caller, Start
from parade_scheduler.storage.commands import Command
from parade_scheduler.storage.events_store import EventStore, Place, place_of
from parade_scheduler.triggers.schedule_runner import Starts

INTERVAL: Final = 1.0
"""Seconds between two looks for events that somebody has not got."""
PAGE: Final = 100
"""How many events are seen to at once."""
MAX_TOLD: Final = 500
"""How many runs are told in one transaction."""
MAX_TOLD_BYTES: Final = 8 * 1024 * 1024
"""About how many bytes that is at most, for each is told the value of an event."""
MAX_NEW: Final = 10_000
"""How many new events wait in memory to be brought about; what is beyond is found by the next look."""
KEPT: Final = timedelta(days=1)
"""How long an event is kept, so that publishing it again is known."""
FORGOTTEN_AT_ONCE: Final = 1_000
LABEL: Final = "event"
"""The label that says which event has started a run."""


class EventDelivery:
    """Brings events about."""

    def __init__(
        self, store: EventStore, catalogue: Catalogue, starts: Starts, outbox: Outbox, inbox: Inbox, clock: Clock, log: Log
    ) -> None:
        """Takes where events are kept, the workflows, what starts runs, how runs are told, who takes that, the time and the log."""
        self._store = store
        self._catalogue = catalogue
        self._starts = starts
        self._outbox = outbox
        self._inbox = inbox
        self._clock = clock
        self._log = log
        self._new: dict[tuple[str, str], PublishedEvent] = {}
        self._wake = asyncio.Event()
        self._postponed: Postponed[tuple[str, str]] = Postponed(clock)
        """The events for whose runs there was no room."""

    def add(self, event: PublishedEvent) -> None:
        """Has a new event brought about. Returns at once."""
        if len(self._new) < MAX_NEW:
            self._new[event.namespace, event.id] = event
            self._wake.set()

    async def lead(self, shards: Callable[[], Collection[int]]) -> None:
        """Brings events about for as long as the process lives.

        Args:
            shards: Gives the shards of this replica.
        """
        next_look = self._clock.monotonic()
        while True:
            try:
                while self._new:
                    new, self._new = list(self._new.values()), {}
                    for start in range(0, len(new), PAGE):
                        await self._deliver_all(new[start : start + PAGE])
                if self._clock.monotonic() >= next_look:
                    next_look = self._clock.monotonic() + INTERVAL
                    await self.look(shards())
            except ParadeError as error:
                self._log.warning("events cannot be read", error=str(error))
            await self._until_new(next_look - self._clock.monotonic())

    async def look(self, shards: Collection[int]) -> None:
        """Brings about the events of some shards that somebody has not got, and forgets old ones.

        Raises:
            ParadeError: UNAVAILABLE, where the store cannot be read.
        """
        after: Place | None = None
        while shards:
            page = await self._store.pending(shards, after, PAGE)
            await self._deliver_all([event for event in page if not self._postponed.waits((event.namespace, event.id))])
            if len(page) < PAGE:
                break
            after = place_of(page[-1])
        if 0 in shards:
            while await self._store.forget(self._clock.now() - KEPT, FORGOTTEN_AT_ONCE) == FORGOTTEN_AT_ONCE:
                pass

    async def _deliver_all(self, events: Collection[PublishedEvent]) -> None:
        """Brings events about. What does not succeed is tried again by a later look.

        Raises:
            ParadeError: UNAVAILABLE, where the store cannot be used.
        """
        if not events:
            return
        in_order = sorted(events, key=place_of)  # so that two replicas with the same events do not wait for each other
        await self._tell_waiting(in_order)
        reached("after_event_told")
        triggers = {of: await self._store.triggers(*of) for of in {(event.namespace, event.type) for event in in_order}}
        begun = await asyncio.gather(*(self._begin(event, triggers[event.namespace, event.type]) for event in in_order))
        await self._store.delivered([event for event, has_begun in zip(in_order, begun, strict=True) if has_begun])

    async def _tell_waiting(self, events: Sequence[PublishedEvent]) -> None:
        largest = max(len(event.value.data) for event in events)
        limit = max(1, min(MAX_TOLD, MAX_TOLD_BYTES // max(1, largest)))
        while events:
            told, complete = await self._store.tell_waiting(events, self._told, limit)
            if told:
                self._inbox.look()
            events = events[complete:]

    def _told(self, run: str, event: PublishedEvent) -> Command:
        return self._outbox.command(run, EventReceived(event.id, event.type, event.value))

    async def _begin(self, event: PublishedEvent, triggers: Collection[EventTrigger]) -> bool:
        """Starts the runs that an event begins; returns whether that is done."""
        key = (event.namespace, event.id)
        try:
            for trigger in triggers:
                await self._start(event, trigger)
                reached("after_event_start")
        except Exception as error:  # noqa: BLE001  # a fault of ours in one event must not end all others
            self._postponed.put_off(key)
            fields = {"event_id": event.id, "type": event.type, "namespace": event.namespace}
            if isinstance(error, ParadeError) and error.reason in PASSING:
                self._log.warning("event waits", error=str(error), **fields)
            else:
                self._log.error("event could not be brought about", exception=error, **fields)
            return False
        self._postponed.done(key)
        return True

    async def _start(self, event: PublishedEvent, trigger: EventTrigger) -> None:
        """Starts a run of a workflow, where one of its triggers wants the event."""
        try:
            inputs = await self._inputs(event, trigger)
            if inputs is None:
                return
            request, labels = f"event/{event.id}/{trigger.workflow}", {LABEL: event.id}
            caller = Caller(event.namespace, trigger.principal, event.trace_parent, is_absent=True)
            await self._starts.start(caller, Start(trigger.workflow, trigger.version, inputs, request, labels))
        except ParadeError as error:
            if error.reason in PASSING:
                raise
            workflow, namespace = trigger.workflow, event.namespace
            self._log.error("run of an event refused", event_id=event.id, workflow=workflow, namespace=namespace, error=str(error))

    async def _inputs(self, event: PublishedEvent, trigger: EventTrigger) -> Document | None:
        """Returns the inputs that an event gives; None where no trigger wants it."""
        workflow = await self._catalogue.workflow(event.namespace, trigger.workflow, trigger.version)
        definition = await self._catalogue.definition(workflow)
        bindings = {"event": event.value.value}
        for one in definition.triggers:
            if one.event.type == event.type and _wants(one, bindings):
                return Document.of(one.inputs.fill(bindings, "on.event.with"))
        return None

    async def _until_new(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


def _wants(trigger: Trigger, bindings: dict[str, Any]) -> bool:
    """Tells whether an event is wanted. One of which the condition cannot be computed, because it lacks a part, is not."""
    condition = trigger.event.condition
    try:
        return condition is None or condition.evaluate(bindings) is True
    except ParadeError:
        return False
