"""The table of schedules."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Row, and_, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import ParadeError, Reason
from parade_chassis.audit import Record
from parade_chassis.store import insert_into
from parade_scheduler.document import Document
from parade_scheduler.schedule import Schedule
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.records import Codec, Documents, micros_of, to_micros, to_time
from parade_scheduler.storage.rows import shard_of
from parade_scheduler.storage.waking_tables import SCHEDULES

_IN_COLUMNS: Final = ("namespace", "name", "workflow", "inputs", "next_time", "last_time", "last_run_id", "defined")
_FACTS: Final = Codec(Schedule, leave_out=_IN_COLUMNS)

Change = Callable[[Schedule | None], Schedule]
"""Makes of the schedule that there is, or None, the one that is to be."""


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule whose time has come."""

    schedule: Schedule
    revision: int
    """How often it had been put when this was read."""

    @property
    def key(self) -> tuple[int, str, str]:
        """What lists of them are ordered by."""
        return to_micros(self.schedule.next_time) or 0, self.schedule.namespace, self.schedule.name


class ScheduleStore(Connected):
    """The schedules."""

    async def put(self, namespace: str, name: str, change: Change, limit: int, audit: Collection[Record] = ()) -> Schedule:
        """Stores a schedule, made of the one that there is.

        Args:
            namespace: Where it is.
            name: Its name.
            change: What makes it; it may raise what refuses it.
            limit: How many schedules the namespace may have.
            audit: What the audit log is told with it.

        Raises:
            ParadeError: NO_CAPACITY, where it would be one too many; UNAVAILABLE; what `change` raises.
        """
        async with self._writing() as connection:
            row = (await connection.execute(_one(namespace, name).with_for_update())).one_or_none()
            schedule = change(None if row is None else _schedule_of(row))
            if row is None:
                await self._check_count(connection, namespace, 1, limit)
            await self._write(connection, schedule, 1 if row is None else row.revision + 1)
            await AUDIT.append(connection, audit)
        return schedule

    async def define(self, connection: AsyncConnection, namespace: str, workflow: str, changes: Sequence[Change], limit: int) -> None:
        """Makes the schedules of a workflow's definition what a new version says, within the transaction that stores it.

        Args:
            connection: The transaction.
            namespace: Where the workflow is.
            workflow: Its name.
            changes: What makes the schedules, in the order of the definition; those that there were beyond these are deleted.
            limit: How many schedules the namespace may have.

        Raises:
            ParadeError: NO_CAPACITY, where they would be too many.
        """
        query = select(SCHEDULES).where(SCHEDULES.c.namespace == namespace, SCHEDULES.c.workflow == workflow, SCHEDULES.c.defined)
        found = {row.name: row for row in await connection.execute(query.with_for_update())}
        made = [(row, change(None if row is None else _schedule_of(row))) for row, change in _paired(found, workflow, changes)]
        surplus = set(found).difference(schedule.name for _, schedule in made)
        if surplus:
            theirs = SCHEDULES.c.namespace == namespace, SCHEDULES.c.name.in_(sorted(surplus))
            await connection.execute(delete(SCHEDULES).where(*theirs))
        new = sum(row is None for row, _ in made)
        if new:
            await self._check_count(connection, namespace, new, limit)
        for row, schedule in made:
            await self._write(connection, schedule, 1 if row is None else row.revision + 1)

    async def schedule(self, namespace: str, name: str) -> Schedule | None:
        """Returns a schedule."""
        async with self._reading() as connection:
            row = (await connection.execute(_one(namespace, name))).one_or_none()
            return None if row is None else _schedule_of(row)

    async def schedules(self, namespace: str, workflow: str, after: str, limit: int) -> list[Schedule]:
        """Returns schedules by name from the one after `after` on, those of one workflow where one is given."""
        query = select(SCHEDULES).where(SCHEDULES.c.namespace == namespace, SCHEDULES.c.name > after)
        if workflow:
            query = query.where(SCHEDULES.c.workflow == workflow)
        async with self._reading() as connection:
            return [_schedule_of(row) for row in await connection.execute(query.order_by(SCHEDULES.c.name).limit(limit))]

    async def delete(self, namespace: str, name: str, audit: Collection[Record] = ()) -> None:
        """Deletes a schedule, and tells the audit log with it. One that is part of a definition stays."""
        async with self._writing() as connection:
            this = SCHEDULES.c.namespace == namespace, SCHEDULES.c.name == name, ~SCHEDULES.c.defined
            if (await connection.execute(delete(SCHEDULES).where(*this))).rowcount:
                await AUDIT.append(connection, audit)

    async def due(self, shards: Collection[int], now: datetime, after: tuple[int, str, str] | None, limit: int) -> list[Due]:
        """Returns schedules of some shards whose time has come, the one that waits longest first, from the one after `after` on."""
        place = SCHEDULES.c.next_time, SCHEDULES.c.namespace, SCHEDULES.c.name
        query = select(SCHEDULES).where(
            SCHEDULES.c.next_time.is_not(None), SCHEDULES.c.next_time <= micros_of(now), SCHEDULES.c.shard.in_(sorted(shards))
        )
        if after is not None:
            query = query.where(tuple_(*place) > after)
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(*place).limit(limit))
            return [Due(_schedule_of(row), row.revision) for row in rows]

    async def started(self, due: Due, next_time: datetime | None, last_time: datetime | None, run: str) -> None:
        """Notes when a schedule starts a run next, and what it started last; nothing where it was put or deleted since it was read.

        Args:
            due: The schedule as it was read.
            next_time: When its time comes again.
            last_time: The time for which it started a run; None where it started none.
            run: The run.
        """
        schedule = due.schedule
        this = and_(
            SCHEDULES.c.namespace == schedule.namespace,
            SCHEDULES.c.name == schedule.name,
            SCHEDULES.c.revision == due.revision,
            SCHEDULES.c.next_time == to_micros(schedule.next_time),
        )
        values: dict[str, Any] = {"next_time": to_micros(next_time)}
        if last_time is not None:
            values |= {"last_time": micros_of(last_time), "last_run": run}
        async with self._writing() as connection:
            await connection.execute(update(SCHEDULES).where(this).values(values))

    async def _check_count(self, connection: AsyncConnection, namespace: str, new: int, limit: int) -> None:
        count = (await connection.execute(select(func.count()).where(SCHEDULES.c.namespace == namespace))).scalar_one()
        if count + new > limit:
            raise ParadeError(Reason.NO_CAPACITY, f"the namespace `{namespace}` may have {limit:,} schedules and has {count:,}")

    async def _write(self, connection: AsyncConnection, schedule: Schedule, revision: int) -> None:
        row = _row(schedule, revision)
        changes = {name: value for name, value in row.items() if name not in ("namespace", "name")}
        statement = insert_into(SCHEDULES, connection).values(row)
        await connection.execute(statement.on_conflict_do_update(index_elements=["namespace", "name"], set_=changes))


def _paired(found: dict[str, Row[Any]], workflow: str, changes: Sequence[Change]) -> list[tuple[Row[Any] | None, Change]]:
    """Pairs what makes a definition's schedules with the rows that there are of them."""
    return [(found.get(defined_name(workflow, number)), change) for number, change in enumerate(changes, 1)]


def defined_name(workflow: str, number: int) -> str:
    """Returns what a schedule of a workflow's definition is called; they are counted from 1."""
    return f"{workflow}.{number}"


def _one(namespace: str, name: str) -> Any:
    return select(SCHEDULES).where(SCHEDULES.c.namespace == namespace, SCHEDULES.c.name == name)


def _row(schedule: Schedule, revision: int) -> dict[str, Any]:
    return {
        "namespace": schedule.namespace,
        "name": schedule.name,
        "shard": shard_of(f"{schedule.namespace}/{schedule.name}"),
        "workflow": schedule.workflow,
        "defined": schedule.defined,
        "revision": revision,
        "next_time": to_micros(schedule.next_time),
        "last_time": to_micros(schedule.last_time),
        "last_run": schedule.last_run_id,
        "facts": orjson.dumps(_FACTS.write(schedule, Documents())).decode(),
        "inputs": schedule.inputs.data,
    }


def _schedule_of(row: Row[Any]) -> Schedule:
    return _FACTS.read(
        orjson.loads(row.facts),
        _no_document,
        namespace=row.namespace,
        name=row.name,
        workflow=row.workflow,
        inputs=Document(row.inputs),
        next_time=to_time(row.next_time),
        last_time=to_time(row.last_time),
        last_run_id=row.last_run,
        defined=row.defined,
    )


def _no_document(place: int) -> Document:
    raise ValueError(f"a schedule's facts keep no document {place}")
