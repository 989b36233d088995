"""How batches get into SQLite: by the driver's own calls, for SQLAlchemy's layers would cost more than all else that a step costs."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from parade_chassis.store import Database, prepare_sqlite
from parade_scheduler.storage.batch import Batch
from parade_scheduler.storage.rows import RunRow
from parade_scheduler.storage.writer import TakenError, check_changed

_RUN_COLUMNS: Final = ", ".join(RunRow._fields)
_INSERT_RUN: Final = f"INSERT INTO run ({_RUN_COLUMNS}) VALUES ({', '.join('?' * len(RunRow._fields))}) ON CONFLICT DO NOTHING"  # noqa: S608
_INSERT_TERM: Final = "INSERT INTO run_term (namespace, term, run) VALUES (?, ?, ?)"
_INSERT_ENTRY: Final = "INSERT INTO entry (run, last_sequence, number, facts, documents) VALUES (?, ?, ?, ?, ?)"
_UPDATE_RUN: Final = "UPDATE run SET state = ?, ended = ?, last_sequence = ?, parked = ?, wake = ?, facts = ?, outputs = ? WHERE id = ?"
_DELETE_COMMAND: Final = "DELETE FROM command WHERE id = ?"


class SqliteWriter:
    """Writes into SQLite: a whole transaction in one visit to a thread, for each visit costs the loop more than a row does."""

    def __init__(self, database: Database) -> None:
        """Takes the database."""
        self._database = database
        self._thread = ThreadPoolExecutor(1, "writer")
        self._connection: sqlite3.Connection | None = None

    async def write(self, batch: Batch, epochs: Mapping[int, int] | None) -> None:  # noqa: ARG002  # as every writer
        """Writes a batch. The lock on the database's file is the fence, so `epochs` are not looked at."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)

    async def close(self) -> None:
        """Closes the connection once nothing is being written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _write(self, batch: Batch) -> None:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            if batch.new_runs:
                inserted = connection.executemany(_INSERT_RUN, batch.new_runs).rowcount
                if inserted != len(batch.new_runs):
                    raise TakenError(_taken(connection, batch.new_runs))
                if batch.terms:
                    connection.executemany(_INSERT_TERM, batch.terms)
            if batch.runs:
                changed = connection.executemany(_UPDATE_RUN, batch.runs).rowcount
                check_changed(changed, len(batch.runs))
            connection.executemany(_INSERT_ENTRY, batch.entries)
            if batch.settled:
                connection.executemany(_DELETE_COMMAND, [(id,) for id in batch.settled])
            for statement, rows in batch.notes.items():
                connection.executemany(statement.sqlite, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(str(self._database.engine.url.database))
            prepare_sqlite(connection)
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _taken(connection: sqlite3.Connection, rows: Sequence[RunRow]) -> frozenset[str]:
    """Returns which of some new runs are not inserted because of others; within the transaction that has just tried."""
    connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    return frozenset(row.id for row in rows if connection.execute(_INSERT_RUN, row).rowcount == 0)
