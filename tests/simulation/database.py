"""A database server in memory that keeps what the scheduler's store asks of one: the store's own statements, run by SQLite.

What SQLite alone does not have is added as PostgreSQL has it: who writes under a shard's epoch holds the key of its row until the end, and
what asks for that row waits or passes it over. Every request takes time, and may fail before or after it was carried out.
"""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, Insert, Select, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from parade_chassis.store import Database
from parade_scheduler.storage.batch import Batch
from parade_scheduler.storage.rows import shard_of
from parade_scheduler.storage.tables import COMMANDS, METADATA, SHARDS
from parade_scheduler.storage.writer import LostError
from parade_scheduler.storage.writer_sqlite import SqliteWriter
from tests.simulation.time import Life

SETTLED: Final = 10.0
"""Seconds after the last trouble from which on every lease holds whose process lives."""
WRITE_TIMEOUT: Final = 30.0
"""Seconds after which a writer gives a transaction up, as that of PostgreSQL does."""
FILE: Final = (-1,)
"""The key that stands for the lock on the file of an embedded database: while a batch is being written, nobody else writes."""


_GOING_ON: Final = "SELECT workflow, count(*) FROM run WHERE state IN ('RUNNING', 'PAUSED', 'COMPENSATING') GROUP BY workflow"


@dataclass
class Weather:
    """How likely it is that something goes wrong between a replica and the server, from 0 to 1."""

    refused: float = 0.0
    """A request does not get through."""
    unanswered: float = 0.0
    """A request is carried out, and its answer is lost."""
    slow: float = 0.0
    """A request takes seconds."""
    full: bool = False
    """Whether the disk is full."""


class Server:
    """The database of one schedule.

    Attributes:
        connection: To the data, for who looks at them without any delay.
        faults: What went wrong that must not: who wrote what was not theirs.
        heard: Who is told of new commands.
        lives: The processes that have claimed shards, by the name under which they did.
        limits: How many runs of a workflow may go on at once, where that is limited.
        calm_since: When the last trouble ended.
        given_up: The epochs of shards that processes have begun to release, by process and shard.
        wrote: Which processes have stored which attempts, by run, step, task and attempt.
    """

    def __init__(self, chance: random.Random, *, shared: bool) -> None:
        """Begins with an empty database; `shared` says whether several replicas use it."""
        raw, self.connection, template = _memory()
        raw.deserialize(template)
        self.raw = raw
        self.shared = shared
        self.chance = chance
        self.faults: list[str] = []
        self.heard: list[Callable[[], None]] = []
        self.lives: dict[str, Life] = {}
        self.limits: dict[str, int] = {}
        self.calm_since: float | None = None
        self.given_up: dict[tuple[str, int], int] = {}
        self.wrote: dict[tuple[str, str, int, int], set[str]] = {}
        self.writes = 0
        self._locks: dict[int, int] = {}
        self._unlocked = asyncio.Event()

    @property
    def is_settled(self) -> bool:
        """Whether no trouble is left that may have cost a living process its lease."""
        return self.calm_since is not None and asyncio.get_running_loop().time() > self.calm_since + SETTLED

    @property
    def micros(self) -> int:
        """The server's time, in microseconds."""
        return int(asyncio.get_running_loop().time() * 1_000_000)

    def lock(self, shards: Iterable[int]) -> None:
        """Holds the keys of shards."""
        for shard in shards:
            self._locks[shard] = self._locks.get(shard, 0) + 1

    def unlock(self, shards: Iterable[int]) -> None:
        """Lets the keys of shards go."""
        for shard in shards:
            self._locks[shard] -= 1
            if not self._locks[shard]:
                del self._locks[shard]
        self._unlocked.set()

    def is_locked(self, shard: int) -> bool:
        """Tells whether somebody holds a shard's key."""
        return shard in self._locks

    @property
    def locked(self) -> list[int]:
        """The shards whose keys are held."""
        return sorted(self._locks)

    async def until_unlocked(self) -> None:
        """Waits until somebody lets a key go."""
        self._unlocked.clear()
        await self._unlocked.wait()

    def notify(self) -> None:
        """Tells who listens that there is a command, though not always."""
        if self.chance.random() < 0.7:
            for heard in list(self.heard):
                heard()

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Returns the rows of a query, at once."""
        return self.raw.execute(statement, values).fetchall()


@cache
def _memory() -> tuple[sqlite3.Connection, Connection, bytes]:
    raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    engine: Engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    METADATA.create_all(engine)
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    return raw, connection, raw.serialize()


class _Transaction:
    """One transaction; it begins with its first statement, for before that it may wait for a lock."""

    def __init__(self, server: Server, *, writes: bool) -> None:
        self._server = server
        self._writes = writes
        self._begun = False
        self.commands = False
        self.dialect = server.connection.dialect

    async def execute(self, statement: Any, values: Any = None) -> Any:
        """Executes a statement."""
        server = self._server
        if isinstance(statement, Select):
            lock: Any = statement._for_update_arg
            if lock is not None and SHARDS in statement.columns_clause_froms:
                statement = await self._unlocked(statement, skip=lock.skip_locked)
        elif isinstance(statement, Insert) and statement.table is COMMANDS:
            self.commands = True
        if not self._writes and server.shared and self._begun and server.chance.random() < 0.05:
            await asyncio.sleep(server.chance.uniform(0, 0.02))  # each statement sees what is committed by then
        elif self._writes and not self._begun:
            while server.is_locked(*FILE):
                await server.until_unlocked()
            server.raw.execute("BEGIN")
        self._begun = True
        return server.connection.execute(statement, values)

    def end(self, how: str) -> None:
        """Commits or rolls back."""
        if self._writes and self._begun:
            self._server.raw.execute(how)
            if self.commands and how == "COMMIT":
                self._server.notify()

    async def _unlocked(self, statement: Any, *, skip: bool) -> Any:
        server = self._server
        if skip:
            return statement.where(SHARDS.c.id.not_in(server.locked)) if server.locked else statement
        while any(server.is_locked(row.id) for row in server.connection.execute(statement)):
            assert not self._begun, "waits for a lock within a transaction"
            await server.until_unlocked()
        return statement


class SimulatedDatabase(Database):
    """The server as one replica reaches it.

    Attributes:
        weather: What goes wrong on the way.
        cut: Whether nothing gets through.
    """

    def __init__(self, server: Server, life: Life) -> None:
        """Takes the server and the process."""
        self.server = server
        self.life = life
        self.weather = Weather()
        self.cut = False

    @property
    def is_sqlite(self) -> bool:
        """Statements are written as SQLite takes them."""
        return True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Runs a block in one transaction."""
        await self.request()
        transaction = _Transaction(self.server, writes=True)
        try:
            yield transaction
        except BaseException:
            transaction.end("ROLLBACK")
            raise
        transaction.end("COMMIT")
        await self.answer()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        """Runs a block that only reads."""
        await self.request()
        yield _Transaction(self.server, writes=False)
        await self.answer()

    async def request(self) -> None:
        """Takes the time of a request on its way, or loses it."""
        await self.travel()
        if self.cut or self.server.chance.random() < self.weather.refused:
            raise broken()
        if self.life.dead:
            await asyncio.Event().wait()

    async def answer(self) -> None:
        """Takes the time of an answer on its way, or loses it."""
        if self.cut or self.server.chance.random() < self.weather.unanswered:
            await self.travel()
            raise broken()

    async def travel(self) -> None:
        """Takes the time of one way."""
        chance = self.server.chance
        slow = chance.random() < self.weather.slow
        await asyncio.sleep(chance.uniform(0.5, 4.0) if slow else chance.uniform(0.0002, 0.003))


class SimulatedWriter(SqliteWriter):
    """Writes batches at the server, which goes on where the replica does not."""

    def __init__(self, database: SimulatedDatabase) -> None:
        """Takes how the server is reached."""
        self._way = database
        self._server = database.server

    async def write(self, batch: Batch, epochs: Mapping[int, int] | None) -> None:
        """Writes a batch."""
        way, weather, chance = self._way, self._way.weather, self._server.chance
        for shard, epoch in (epochs or {}).items():
            if self._server.given_up.get((way.life.name, shard)) == epoch:
                # What it decides on may lack what it was writing when it gave the shard up.
                self._server.faults.append(f"{way.life.name} writes to shard {shard} under the epoch {epoch}, which it has given up")
        await way.request()
        if weather.full:
            raise full()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().create_task(self._serve(batch, epochs, done), context=Context())
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                if chance.random() < weather.unanswered / 2:
                    # The connection breaks while the transaction is under way, which may be committed all the same.
                    await asyncio.wait([done], timeout=chance.uniform(0, 0.01))
                    raise broken()
                await done
        finally:
            done.cancel()
        await way.answer()

    async def close(self) -> None:
        """Has nothing to close."""

    async def _serve(self, batch: Batch, epochs: Mapping[int, int] | None, done: "asyncio.Future[None]") -> None:
        server, way = self._server, self._way
        keys = FILE if epochs is None else epochs
        try:
            self._fence(epochs)
            server.lock(keys)
            try:
                slow = server.chance.random() < way.weather.slow
                await asyncio.sleep(server.chance.uniform(0.5, 4.0) if slow else server.chance.uniform(0.0005, 0.005))
                # One that died has perhaps sent its COMMIT; to an embedded database it has not.
                if (way.life.dead and (not server.shared or server.chance.random() < 0.5)) or server.chance.random() < way.weather.refused:
                    raise broken()
                self._commit(batch)
            finally:
                server.unlock(keys)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)

    def _fence(self, epochs: Mapping[int, int] | None) -> None:
        if not epochs:
            return
        found = dict(self._server.rows("SELECT id, epoch FROM shard"))
        lost = frozenset(shard for shard, epoch in epochs.items() if found.get(shard) != epoch)
        if lost:
            raise LostError(lost)

    def _commit(self, batch: Batch) -> None:
        server = self._server
        self._write(batch)
        server.writes += 1
        if server.limits:
            for workflow, count in server.rows(_GOING_ON):
                if count > server.limits.get(workflow, count):
                    server.faults.append(f"{count} runs of {workflow} go on at once")
        if server.shared:
            owners = dict(server.rows("SELECT id, owner FROM shard"))
            for entry in batch.entries:
                for task in orjson.loads(entry[3]).get("tasks", ()):
                    attempt = (entry[0], task["step"], task.get("index", 0), task.get("attempt", 0))
                    server.wrote.setdefault(attempt, set()).add(self._way.life.name)
                owner = owners.get(shard_of(entry[0]))
                # Nobody's is a shard that was just released: what was under way then is still its last owner's.
                if owner not in ("", self._way.life.name):
                    server.faults.append(f"{self._way.life.name} wrote {entry[0]} though its shard is {owner}'s")

    def _connected(self) -> sqlite3.Connection:
        return self._server.raw


def broken() -> OperationalError:
    """Returns what a driver raises whose connection is gone."""
    return OperationalError("simulated", None, _coded("SQLITE_IOERR"))


def full() -> sqlite3.OperationalError:
    """Returns what SQLite raises where the disk is full."""
    return _coded("SQLITE_FULL")


def _coded(code: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"simulated: {code}")
    error.sqlite_errorname = code
    return error
