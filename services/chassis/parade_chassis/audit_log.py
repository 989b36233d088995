"""The tables of a service's audit log, written in the transactions of what they tell of.

A log is one chain where one process writes at a time. Where several write at once, on PostgreSQL, each transaction takes a chain that no
other has at that moment, and begins another where there is none: nobody waits for anybody, and there are as many chains as there ever were
transactions at once.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    case,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.audit import Entry, Fault, Head, Verification
from parade.wire.errors import ParadeError, Reason
from parade_chassis.audit import Record, chained, first_head
from parade_chassis.store import Database, insert_into

_PAGE: Final = 1_000
"""How many entries are read at once."""
_TEXTS: Final = ("kind", "action", "subject", "namespace", "resource", "facts")


class AuditTables:
    """The two tables of one service, whose name they bear: several services can share a database.

    Attributes:
        log: Whose log it is: the service.
        entries: The entries, by chain and sequence.
        heads: Where each chain ends. Whoever writes into a chain holds its row.
    """

    def __init__(self, log: str, metadata: MetaData) -> None:
        """Adds the tables of the service `log` to `metadata`."""
        self.log = log
        self.entries = Table(
            f"{log}_audit",
            metadata,
            Column("chain", Integer, primary_key=True, autoincrement=False),
            Column("sequence", BigInteger, primary_key=True, autoincrement=False),
            Column("time", BigInteger, nullable=False),
            *(Column(name, Text, nullable=False) for name in _TEXTS),
            Column("previous_hash", LargeBinary, nullable=False),
            Column("hash", LargeBinary, nullable=False),
            sqlite_with_rowid=False,  # every commit with an entry writes each tree of its table anew, so there is one and no index
        )
        self.heads = Table(
            f"{log}_audit_head",
            metadata,
            Column("chain", Integer, primary_key=True, autoincrement=False),
            Column("sequence", BigInteger, nullable=False),
            Column("time", BigInteger, nullable=False),
            Column("hash", LargeBinary, nullable=False),
        )

    async def append(self, connection: AsyncConnection, records: Iterable[Record]) -> None:
        """Writes records into the log, within a transaction that may write; best as its last act."""
        records = list(records)
        if not records:
            return
        entries, head = chained(await self.free_head(connection), records)
        await connection.execute(insert(self.entries), [entry._asdict() for entry in entries])
        await connection.execute(update(self.heads).where(self.heads.c.chain == head.chain).values(head._asdict()))

    async def free_head(self, connection: AsyncConnection) -> Head:
        """Returns the head of a chain that nobody else writes into before this transaction has ended."""
        heads = self.heads
        free = select(heads).order_by(heads.c.chain).limit(1).with_for_update(skip_locked=True)
        while True:
            row = (await connection.execute(free)).one_or_none()
            if row is not None:
                return Head(row.chain, row.sequence, row.time, bytes(row.hash))
            next_chain = func.coalesce(func.max(heads.c.chain) + 1, 0)
            head = first_head(self.log, (await connection.execute(select(next_chain))).scalar_one())
            # Who begins the same chain at once is waited for, and then another is looked for.
            begun = insert_into(heads, connection).values(head._asdict()).on_conflict_do_nothing().returning(heads.c.chain)
            if (await connection.execute(begun)).one_or_none() is not None:
                return head


class AuditLog:
    """Reads a service's audit log."""

    def __init__(self, database: Database, tables: AuditTables) -> None:
        """Takes the opened database and the tables."""
        self._database = database
        self._tables = tables
        self._columns = [self._read(column) for column in tables.entries.c]
        self._head_columns = [self._read(column) for column in tables.heads.c]

    @property
    def log(self) -> str:
        """Whose log it is."""
        return self._tables.log

    async def record(self, records: Sequence[Record]) -> None:
        """Writes records into the log, in a transaction of their own.

        Raises:
            ParadeError: UNAVAILABLE, where the database cannot be written.
        """
        try:
            async with self._database.transaction() as connection:
                await self._tables.append(connection, records)
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise ParadeError(Reason.UNAVAILABLE, f"the {self.log}'s database cannot be written") from error

    async def heads(self) -> dict[int, Head]:
        """Returns where each chain ends now."""
        async with self._database.reading() as connection:
            return await self._heads(connection)

    async def newest(
        self, namespace: str, wanted: Mapping[str, str], before: Mapping[int, int], limit: int, *, nowhere: bool = False
    ) -> list[Entry]:
        """Returns entries of a namespace, newest first. Entries of others are passed over one by one: who reads pays, and not who writes.

        Args:
            namespace: The namespace.
            wanted: What their columns must be, by name.
            before: By chain, the sequence of the entry that these come before; a chain that is not there is read from its newest entry on.
            limit: How many at most.
            nowhere: Whether those too are wanted that are of no namespace.
        """
        entries = self._tables.entries.c
        places = [namespace, ""] if nowhere else [namespace]
        found: list[Entry] = []
        async with self._database.reading() as connection:
            for chain in await self._heads(connection):
                query = select(*self._columns).where(entries.chain == chain, entries.namespace.in_(places))
                query = query.where(*(entries[name] == value for name, value in wanted.items()))
                if chain in before:
                    query = query.where(entries.sequence < before[chain])
                found += [_entry(row) for row in await connection.execute(query.order_by(entries.sequence.desc()).limit(limit))]
        found.sort(key=lambda entry: (entry.time, entry.chain, entry.sequence), reverse=True)
        return found[:limit]

    async def everything(self, heads: Mapping[int, Head]) -> AsyncIterator[Sequence[Entry]]:
        """Yields the entries of all chains up to their heads, chain after chain and in their order, some at a time."""
        entries = self._tables.entries.c
        for chain, head in sorted(heads.items()):
            after = 0
            while True:
                query = select(*self._columns).where(entries.chain == chain, entries.sequence > after, entries.sequence <= head.sequence)
                async with self._database.reading() as connection:
                    page = [_entry(row) for row in await connection.execute(query.order_by(entries.sequence).limit(_PAGE))]
                if page:
                    yield page
                if len(page) < _PAGE or page[-1].sequence <= after:
                    break
                after = page[-1].sequence

    async def verify(self, checkpoint: Iterable[Head] = ()) -> tuple[int, list[Fault], dict[int, Head]]:
        """Reads the whole log and returns how many entries it has, the first fault of every chain that has one, and its heads.

        Args:
            checkpoint: Heads that its chains are known to have had.
        """
        heads = await self.heads()
        verification = Verification(self.log, checkpoint)
        async for page in self.everything(heads):
            for entry in page:
                verification.check(entry)
        faults = verification.end(heads)
        sound = {fault.chain for fault in faults}
        faults += [fault for fault in await self._strays() if fault.chain not in sound]
        return verification.checked, faults, heads

    async def _strays(self) -> list[Fault]:
        """Returns a fault for every chain with entries outside of what its head says."""
        entries, heads = self._tables.entries.c, self._tables.heads.c
        outside = or_(heads.chain.is_(None), entries.sequence > heads.sequence, entries.sequence < 1)
        query = (
            select(func.min(self._read(entries.chain)).label("chain"), func.min(self._read(entries.sequence)).label("first"))
            .select_from(self._tables.entries.outerjoin(self._tables.heads, entries.chain == heads.chain))
            .where(outside)
            .group_by(entries.chain)
        )
        async with self._database.reading() as connection:
            rows = await connection.execute(query)
            return [Fault(_number(row.chain), _number(row.first), "the chain's head knows nothing of this entry") for row in rows]

    async def _heads(self, connection: AsyncConnection) -> dict[int, Head]:
        heads = [Head._make((*map(_number, row[:3]), _bytes(row[3]))) for row in await connection.execute(select(*self._head_columns))]
        return {head.chain: head for head in heads}

    def _read(self, column: Column[Any]) -> ColumnElement[Any]:
        """Returns what reads a column, whatever somebody may have put into it.

        A column of SQLite takes values of every type, and a text there need not be one: reading it as it is would end with an error.
        """
        if not self._database.is_sqlite:
            return column
        if isinstance(column.type, Integer):
            return case((func.typeof(column) == "integer", column), else_=None).label(column.name)
        return cast(column, LargeBinary).label(column.name)


def _entry(row: Any) -> Entry:
    return Entry._make((*map(_number, row[:3]), *map(_text, row[3:9]), *map(_bytes, row[9:])))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else ""


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""
