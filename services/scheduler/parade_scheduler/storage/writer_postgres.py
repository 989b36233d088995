"""How batches get into PostgreSQL: by the driver's own calls, for SQLAlchemy's layers would cost more than all else that a step costs.

Each statement takes the rows of a table as one array a column.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.audit import Head
from parade_chassis.audit import Record, chained
from parade_chassis.store import Database
from parade_scheduler.storage import audit_rows
from parade_scheduler.storage.batch import Batch
from parade_scheduler.storage.rows import RunRow
from parade_scheduler.storage.writer import LostError, TakenError, check_changed

_IDLE_TIMEOUT_MS: Final = 3_000
"""After which PostgreSQL ends a transaction of which nothing more is heard: its process is frozen or cut off, and holds others up."""
_TIMEOUT: Final = 30.0
"""Seconds that a transaction may take, for a server that is cut off says nothing."""

# Taking a shard over locks its row for an update, which waits for this; prolonging a lease does not.
_FENCE: Final = "SELECT id, epoch FROM shard WHERE id = ANY($1::smallint[]) FOR KEY SHARE"
_INSERT_RUNS: Final = f"""
    INSERT INTO run ({", ".join(RunRow._fields)})
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::smallint[], $4::text[], $5::int[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
        $10::bigint[], $11::bool[], $12::bigint[], $13::text[], $14::bytea[], $15::bytea[]
    ) ON CONFLICT DO NOTHING RETURNING id"""  # noqa: S608  # names of our own columns
_INSERT_TERMS: Final = "INSERT INTO run_term (namespace, term, run) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])"
_UPDATE_RUNS: Final = """
    UPDATE run SET state = new.state, ended = new.ended, last_sequence = new.last_sequence, parked = new.parked, wake = new.wake,
        facts = new.facts, outputs = new.outputs
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bool[], $5::bigint[], $6::text[], $7::bytea[], $8::text[])
        AS new (state, ended, last_sequence, parked, wake, facts, outputs, id)
    WHERE run.id = new.id"""
_INSERT_ENTRIES: Final = """
    INSERT INTO entry (run, last_sequence, number, facts, documents)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::int[], $4::text[], $5::bytea[])"""
_DELETE_COMMANDS: Final = "DELETE FROM command WHERE id = ANY($1::text[])"


class PostgresWriter:
    """Writes into PostgreSQL, over a connection that it keeps."""

    def __init__(self, database: Database) -> None:
        """Takes the database."""
        self._database = database
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    async def write(self, batch: Batch, epochs: Mapping[int, int] | None) -> None:
        """Writes a batch, where the shards still have these epochs."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                driver = await self._connected()
                async with driver.transaction():
                    await _write(driver, batch, epochs)
        except (TakenError, LostError):
            raise
        except BaseException:
            # The connection may be gone, or in the middle of something.
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError):
                await connection.invalidate()
                await connection.close()

    async def _connected(self) -> Any:
        if self._connection is None:
            connection = await self._database.engine.connect()
            self._driver = (await connection.get_raw_connection()).driver_connection
            self._connection = connection
            await self._driver.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_TIMEOUT_MS}")
        return self._driver


async def _write(driver: Any, batch: Batch, epochs: Mapping[int, int] | None) -> None:
    if epochs:
        found = {row["id"]: row["epoch"] for row in await driver.fetch(_FENCE, list(epochs))}
        lost = frozenset(shard for shard, epoch in epochs.items() if found.get(shard) != epoch)
        if lost:
            raise LostError(lost)
    if batch.new_runs:
        inserted = {row["id"] for row in await driver.fetch(_INSERT_RUNS, *_columns(batch.new_runs))}
        if len(inserted) != len(batch.new_runs):
            raise TakenError(frozenset(row.id for row in batch.new_runs if row.id not in inserted))
        if batch.terms:
            await driver.execute(_INSERT_TERMS, *_columns(batch.terms))
    if batch.runs:
        status = await driver.execute(_UPDATE_RUNS, *_columns(batch.runs))
        check_changed(int(status.removeprefix("UPDATE ")), len(batch.runs))
    await driver.execute(_INSERT_ENTRIES, *_columns(batch.entries))
    if batch.settled:
        await driver.execute(_DELETE_COMMANDS, batch.settled)
    for statement, rows in batch.notes.items():
        await driver.executemany(statement.postgres, rows)
    if batch.audit:
        await _audit(driver, batch.audit)


async def _audit(driver: Any, records: Sequence[Record]) -> None:
    entries, head = chained(await _free_head(driver), records)
    await driver.execute(audit_rows.POSTGRES_ENTRIES, *_columns(entries), head.sequence, head.time, head.hash, head.chain)


async def _free_head(driver: Any) -> Head:
    while True:
        row = await driver.fetchrow(audit_rows.POSTGRES_HEAD)
        if row is not None:
            return Head(*row)
        head = audit_rows.first(await driver.fetchval(audit_rows.POSTGRES_NEXT_CHAIN))
        # Who begins the same chain at once is waited for, and then another is looked for.
        if await driver.fetchval(audit_rows.POSTGRES_BEGIN, *head) is not None:
            return head


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))
