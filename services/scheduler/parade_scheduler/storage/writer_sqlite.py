"""How batches get into SQLite: by the driver's own calls, for SQLAlchemy's layers would cost more than all else that a step costs."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Final, NamedTuple

from parade.wire.audit import Head
from parade_chassis.audit import Record, chained
from parade_chassis.store import Database, prepare_sqlite
from parade_scheduler.storage import audit_rows
from parade_scheduler.storage.batch import Batch
from parade_scheduler.storage.rows import RunRow
from parade_scheduler.storage.writer import TakenError, check_changed

_TOGETHER: Final = 16
"""Rows of one statement. Each execution lets go of Python's lock, and beside a busy loop the thread gets it back after up to 5 ms."""


class _ManyRows(NamedTuple):
    """A statement that takes several rows at once."""

    head: str
    columns: int
    tail: str = ""

    def execute(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Executes it for all rows, and returns how many were changed."""
        row = f"({', '.join('?' * self.columns)})"
        changed = 0
        for begin in range(0, len(rows), _TOGETHER):
            some = rows[begin : begin + _TOGETHER]
            statement = f"{self.head} VALUES {', '.join([row] * len(some))}{self.tail}"
            changed += connection.execute(statement, tuple(chain.from_iterable(some))).rowcount
        return changed


_INSERT_RUNS: Final = _ManyRows(f"INSERT INTO run ({', '.join(RunRow._fields)})", len(RunRow._fields), " ON CONFLICT DO NOTHING")
_INSERT_TERMS: Final = _ManyRows("INSERT INTO run_term (namespace, term, run)", 3)
_INSERT_ENTRIES: Final = _ManyRows("INSERT INTO entry (run, last_sequence, number, facts, documents)", 5)
_UPDATE_RUNS: Final = _ManyRows(
    "UPDATE run SET state = column1, ended = column2, last_sequence = column3, parked = column4, wake = column5, facts = column6,"
    " outputs = column7 FROM (",
    8,
    ") AS new WHERE run.id = new.column8",
)
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
                if _INSERT_RUNS.execute(connection, batch.new_runs) != len(batch.new_runs):
                    raise TakenError(_taken(connection, batch.new_runs))
                _INSERT_TERMS.execute(connection, batch.terms)
            check_changed(_UPDATE_RUNS.execute(connection, batch.runs), len(batch.runs))
            _INSERT_ENTRIES.execute(connection, batch.entries)
            if batch.settled:
                connection.executemany(_DELETE_COMMAND, [(id,) for id in batch.settled])
            for statement, rows in batch.notes.items():
                connection.executemany(statement.sqlite, rows)
            if batch.audit:
                _audit(connection, batch.audit)
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


def _audit(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    row = connection.execute(audit_rows.SQLITE_HEAD).fetchone()
    entries, head = chained(audit_rows.first() if row is None else Head(*row), records)
    connection.executemany(audit_rows.SQLITE_ENTRIES, entries)
    connection.execute(audit_rows.SQLITE_NEW_HEAD, head)


def _taken(connection: sqlite3.Connection, rows: Sequence[RunRow]) -> frozenset[str]:
    """Returns which of some new runs are not inserted because of others; within the transaction that has just tried."""
    connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    return frozenset(row.id for row in rows if _INSERT_RUNS.execute(connection, [row]) == 0)
