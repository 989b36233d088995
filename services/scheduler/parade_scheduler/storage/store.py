"""What survives a restart: workflows, runs and their histories, who leads them. Each method is one transaction; none decides anything."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_chassis.store import Database
from parade_scheduler.storage.approval_table import APPROVALS
from parade_scheduler.storage.approvals import Approvals
from parade_scheduler.storage.batch import Batch, batch_of
from parade_scheduler.storage.commands import Command, Commands
from parade_scheduler.storage.connected import refusal
from parade_scheduler.storage.entries import Change, Stored, entry_of
from parade_scheduler.storage.leases import Leases
from parade_scheduler.storage.records import micros_of, time_of, to_time
from parade_scheduler.storage.rows import SHARD_COUNT, run_of, shard_of, terms_of
from parade_scheduler.storage.runs import BRIEF, WHOLE, RunFilter, Runs, folds
from parade_scheduler.storage.tables import ENDED, ENTRIES, PARKED, RUNS, SHARDS, TERMS, UNFINISHED
from parade_scheduler.storage.workflows import Workflows
from parade_scheduler.storage.writer import LostError, TakenError, Writer
from parade_scheduler.storage.writer_postgres import PostgresWriter
from parade_scheduler.storage.writer_sqlite import SqliteWriter

__all__ = [
    "SHARD_COUNT",
    "Change",
    "Command",
    "LostError",
    "RunFilter",
    "Store",
    "Stored",
    "TakenError",
    "refusal",
    "shard_of",
]

_CHUNK: Final = 50
"""How many runs are read at once."""

_DELETE_TERM: Final = delete(TERMS).where(
    TERMS.c.namespace == bindparam("of"), TERMS.c.term == bindparam("found_by"), TERMS.c.run == bindparam("id")
)

Listener = Callable[[Batch], None]
"""Is told what was committed. It must not wait."""


class Store(Workflows, Runs, Approvals, Commands, Leases):
    """The scheduler's database, as one replica sees it."""

    def __init__(self, database: Database) -> None:
        """Takes the opened database."""
        super().__init__(database)
        self._writer: Writer = SqliteWriter(database) if database.is_sqlite else PostgresWriter(database)
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Has a listener told of every transaction that is committed, before `write` returns."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Closes the writer's connection; the database itself is its opener's to close."""
        await self._writer.close()

    async def write(self, changes: Sequence[Change], shards: Mapping[int, int] | None) -> None:
        """Writes everything or nothing, in one transaction. One call at a time.

        Args:
            changes: What is written, one change a run.
            shards: The epochs under which we own the shards of these runs; None on SQLite, where one process owns all.

        Raises:
            TakenError: New runs cannot be, because others have their id or their request. Nothing was written.
            LostError: Shards are no longer ours, or have no epoch among those. Nothing was written.
            Exception: What the driver raises, as it is; `refusal` says what it means. Whether anything was written, `was_written` says.
        """
        if shards is not None:
            without = {shard_of(change.run.id) for change in changes} - shards.keys()
            if without:
                raise LostError(frozenset(without))
        batch = batch_of(changes)
        await self._writer.write(batch, shards)
        for listener in self._listeners:
            listener(batch)

    async def was_written(self, change: Change) -> bool:
        """Tells whether a change is in the store, after a commit whose answer was lost.

        Where another replica leads the run by now, what stands in the place of this change may be what that one has written.
        """
        entry = entry_of(change)
        this = and_(ENTRIES.c.run == change.run.id, ENTRIES.c.last_sequence == change.run.last_sequence, ENTRIES.c.number == change.number)
        # On PostgreSQL the commit may still be under way. It holds the key of the shard's row, so this waits for its end.
        fence = select(SHARDS.c.id).where(SHARDS.c.id == shard_of(change.run.id)).with_for_update()
        async with self._writing() as connection:
            await connection.execute(fence)
            row = (await connection.execute(select(ENTRIES.c.facts, ENTRIES.c.documents).where(this))).one_or_none()
        return row is not None and (row.facts, row.documents) == (entry.facts, entry.documents)

    async def load(self, runs: Sequence[str]) -> list[Stored]:
        """Returns those of some runs that there are, whole."""
        found: list[Stored] = []
        async with self._reading() as connection:
            for start in range(0, len(runs), _CHUNK):
                found += await _stored(connection, RUNS.c.id.in_(runs[start : start + _CHUNK]))
        return found

    async def unfinished(self, shards: Collection[int]) -> list[str]:
        """Returns all runs of some shards that have not ended and are not parked."""
        query = select(RUNS.c.id).where(UNFINISHED, RUNS.c.shard.in_(sorted(shards))).order_by(RUNS.c.id)
        async with self._reading() as connection:
            return list((await connection.execute(query)).scalars())

    async def due(self, shards: Collection[int], before: datetime, limit: int) -> list[tuple[str, datetime]]:
        """Returns the parked runs of some shards that are to be taken up before a time, soonest first, with theirs."""
        query = select(RUNS.c.id, RUNS.c.wake).where(PARKED, RUNS.c.wake < micros_of(before), RUNS.c.shard.in_(sorted(shards)))
        async with self._reading() as connection:
            return [(row.id, time_of(row.wake)) for row in await connection.execute(query.order_by(RUNS.c.wake).limit(limit))]

    async def active(self, namespace: str) -> int:
        """Returns how many runs of a namespace go on: have not ended and are not parked."""
        # The namespace as a value and not as a column: SQLite would look through all its runs instead of the few of a partial index.
        query = select(func.count()).select_from(RUNS).where(UNFINISHED, RUNS.c.namespace.concat("") == namespace)
        async with self._reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def forget(self, before: datetime, limit: int) -> int:
        """Deletes runs that ended before a time with all that they are made of, the oldest first, at most `limit`.

        Returns:
            How many.
        """
        old: Any = select(*BRIEF, RUNS.c.inputs).where(ENDED, RUNS.c.ended < micros_of(before)).order_by(RUNS.c.ended).limit(limit)
        async with self._writing() as connection:
            runs = [run_of(row) for row in await connection.execute(old)]
            terms = [{"of": run.namespace, "found_by": term, "id": run.id} for run in runs for term in terms_of(run)]
            if terms:
                await connection.execute(_DELETE_TERM, terms)
            ids = [run.id for run in runs]
            await connection.execute(delete(ENTRIES).where(ENTRIES.c.run.in_(ids)))
            await connection.execute(delete(APPROVALS).where(APPROVALS.c.run.in_(ids)))
            await connection.execute(delete(RUNS).where(RUNS.c.id.in_(ids)))
        return len(runs)


async def _stored(connection: AsyncConnection, condition: Any) -> list[Stored]:
    rows = list(await connection.execute(select(*WHOLE).where(condition).order_by(RUNS.c.id)))
    found = await folds(connection, [row.id for row in rows])
    return [
        Stored(run_of(row), fold.steps(), fold.tasks(), fold.number, row.parked, to_time(row.wake), fold.time)
        for row, fold in ((row, found[row.id]) for row in rows)
    ]
