"""The tables of events: what was published, who waits for it, and which workflows begin on it."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_chassis.store import insert_into
from parade_scheduler.document import Document
from parade_scheduler.expression import terms
from parade_scheduler.model import Workflow
from parade_scheduler.published_event import EventTrigger, PublishedEvent
from parade_scheduler.storage.commands import Command, leave_commands
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.records import micros_of, time_of
from parade_scheduler.storage.rows import shard_of
from parade_scheduler.storage.waking_tables import AWAITED_EVENTS, PENDING, PUBLISHED_EVENTS, TRIGGERS

Place = tuple[int, str, str]
"""Where an event stands among those that are pending: its time in microseconds, its namespace, its id."""


class EventStore(Connected):
    """The events."""

    async def publish(self, events: Sequence[PublishedEvent]) -> list[bool]:
        """Stores events in one transaction; one whose id there is stays as it is.

        Returns:
            Of each, whether somebody is to get it now: it is new, and a task may want it or a workflow begins on its type.
        """
        wanted: dict[int, bool] = {}
        async with self._writing() as connection:
            # In one order, so that two replicas that store the same events do not wait for each other.
            for place in sorted(range(len(events)), key=lambda place: (events[place].namespace, events[place].id)):
                wanted[place] = await self._publish(connection, events[place])
        return [wanted[place] for place in range(len(events))]

    async def _publish(self, connection: AsyncConnection, event: PublishedEvent) -> bool:
        awaited = exists().where(*_wanting(event))
        triggers = exists().where(TRIGGERS.c.namespace == event.namespace, TRIGGERS.c.type == event.type)
        pending = bool((await connection.execute(select(awaited | triggers))).scalar_one())
        inserting = insert_into(PUBLISHED_EVENTS, connection).values(_row(event, pending=pending)).on_conflict_do_nothing()
        return (await connection.execute(inserting)).rowcount == 1 and pending

    async def exists(self, namespace: str, id: str) -> bool:
        """Tells whether an event was published, and is still kept."""
        async with self._reading() as connection:
            return bool((await connection.execute(select(exists().where(*_one(namespace, id))))).scalar_one())

    async def count(self, namespace: str) -> int:
        """Returns how many events of a namespace are kept."""
        query = select(func.count()).select_from(PUBLISHED_EVENTS).where(PUBLISHED_EVENTS.c.namespace == namespace)
        async with self._reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def pending(self, shards: Collection[int], after: Place | None, limit: int) -> list[PublishedEvent]:
        """Returns events of some shards that somebody may still have to get, the oldest first, from the one after `after` on."""
        place = PUBLISHED_EVENTS.c.created, PUBLISHED_EVENTS.c.namespace, PUBLISHED_EVENTS.c.id
        query = select(PUBLISHED_EVENTS).where(PENDING, PUBLISHED_EVENTS.c.shard.in_(sorted(shards)))
        if after is not None:
            query = query.where(tuple_(*place) > after)
        async with self._reading() as connection:
            return [_event_of(row) for row in await connection.execute(query.order_by(*place).limit(limit))]

    async def tell_waiting(
        self, events: Sequence[PublishedEvent], command: Callable[[str, PublishedEvent], Command], limit: int
    ) -> tuple[int, int]:
        """Tells the next runs that may want events of them: each once, for how far this has come is noted in the same transaction.

        Args:
            events: The events, in the order of their places.
            command: Makes what tells a run of an event.
            limit: How many runs are told at most.

        Returns:
            How many were told, and of how many of the events, from the first on, everybody has been told.
        """
        told: list[Command] = []
        complete = 0
        async with self._writing() as connection:
            for event in events:
                room = limit - len(told)
                runs = await _next_waiting(connection, event, room)
                told += [command(run, event) for run in runs]
                if len(runs) == room:
                    break
                complete += 1
            await leave_commands(connection, told)
        return len(told), complete

    async def delivered(self, events: Sequence[PublishedEvent]) -> None:
        """Notes that everybody has got events."""
        if not events:
            return
        this = PUBLISHED_EVENTS.c.namespace == bindparam("of"), PUBLISHED_EVENTS.c.id == bindparam("event")
        rows = [{"of": event.namespace, "event": event.id} for event in events]
        async with self._writing() as connection:
            await connection.execute(update(PUBLISHED_EVENTS).where(*this).values(pending=False), rows)

    async def triggers(self, namespace: str, type: str) -> list[EventTrigger]:
        """Returns the workflows that may begin on events of a type, by name."""
        query = select(TRIGGERS).where(TRIGGERS.c.namespace == namespace, TRIGGERS.c.type == type).order_by(TRIGGERS.c.workflow)
        async with self._reading() as connection:
            return [EventTrigger(row.workflow, row.version, row.principal) for row in await connection.execute(query)]

    async def define(self, connection: AsyncConnection, workflow: Workflow, types: Collection[str], principal: str) -> None:
        """Notes on which types of events a new version of a workflow begins, within the transaction that stores it."""
        theirs = TRIGGERS.c.namespace == workflow.namespace, TRIGGERS.c.workflow == workflow.name
        await connection.execute(delete(TRIGGERS).where(*theirs))
        if types:
            row = {"namespace": workflow.namespace, "workflow": workflow.name, "version": workflow.version, "principal": principal}
            await connection.execute(insert(TRIGGERS), [row | {"type": type} for type in sorted(types)])

    async def forget(self, before: datetime, limit: int) -> int:
        """Deletes events that were published before a time and that everybody has got, the oldest first, at most `limit`.

        Returns:
            How many.
        """
        events = PUBLISHED_EVENTS.c
        old = select(events.namespace, events.id).where(events.created < micros_of(before), ~events.pending)
        async with self._writing() as connection:
            rows = (await connection.execute(old.order_by(events.created).limit(limit))).all()
            if rows:
                await connection.execute(
                    delete(PUBLISHED_EVENTS).where(tuple_(events.namespace, events.id).in_([tuple(row) for row in rows]))
                )
        return len(rows)


async def _next_waiting(connection: AsyncConnection, event: PublishedEvent, limit: int) -> list[str]:
    """Returns the next runs that may want an event, and notes that they are told of it."""
    this = _one(event.namespace, event.id)
    query = select(PUBLISHED_EVENTS.c.reached).where(*this, PENDING).with_for_update()
    reached = (await connection.execute(query)).scalar_one_or_none()
    if reached is None:
        return []
    waiting = select(AWAITED_EVENTS.c.run).where(*_wanting(event), AWAITED_EVENTS.c.run > reached)
    runs = list((await connection.execute(waiting.distinct().order_by(AWAITED_EVENTS.c.run).limit(limit))).scalars())
    if runs:
        await connection.execute(update(PUBLISHED_EVENTS).where(*this).values(reached=runs[-1]))
    return runs


def place_of(event: PublishedEvent) -> Place:
    """Returns the place of an event among those that are pending."""
    return micros_of(event.create_time), event.namespace, event.id


def _one(namespace: str, id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return PUBLISHED_EVENTS.c.namespace == namespace, PUBLISHED_EVENTS.c.id == id


def _wanting(event: PublishedEvent) -> list[ColumnElement[bool]]:
    """Returns which tasks may want an event."""
    conditions = [AWAITED_EVENTS.c.namespace == event.namespace, AWAITED_EVENTS.c.type == event.type]
    found = terms(event.value.value)
    return conditions if found is None else [*conditions, AWAITED_EVENTS.c.term.in_(["", *found])]


def _row(event: PublishedEvent, *, pending: bool) -> dict[str, Any]:
    return {
        "namespace": event.namespace,
        "id": event.id,
        "shard": shard_of(f"{event.namespace}/{event.id}"),
        "type": event.type,
        "created": micros_of(event.create_time),
        "pending": pending,
        "reached": "",
        "trace_parent": event.trace_parent,
        "value": event.value.data,
    }


def _event_of(row: Row[Any]) -> PublishedEvent:
    return PublishedEvent(row.namespace, row.id, row.type, Document(row.value), time_of(row.created), row.trace_parent)
