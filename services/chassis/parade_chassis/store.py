"""The ground of every service's store: one database by URL, SQLite or PostgreSQL, with its schema brought up to date at the start.

A service's own `store.py` holds its tables and queries. Its migrations lie in `<package>/migrations/versions`, named `0001_….py`,
`0002_….py`, with these numbers as revisions. An empty database gets the tables as they are now; only one that holds older ones is migrated.
Replicas of two versions share a database while one replaces the other: a migration leaves what the version before it reads and writes.
"""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from sqlalchemy import Connection, MetaData, Table, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from sqlalchemy.dialects import sqlite

BUSY_TIMEOUT_MS = 10_000
"""How long SQLite waits for another writer."""
STATEMENT_TIMEOUT_MS = 30_000
"""How long one statement may take on PostgreSQL."""
_READ_ONLY = "parade_read_only"


class Database:
    """A pool of connections, and the transactions over it."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Takes the engine; see `open`."""
        self.engine = engine

    @classmethod
    async def open(cls, url: str, package: str, tables: MetaData) -> Self:
        """Connects and brings the schema up to date.

        Args:
            url: `sqlite:///path` or `postgresql://user:password@host/database`.
            package: The service's package, for example `parade_scheduler`; it names the table that keeps the schema's version too, so
                that several services can share a database.
            tables: The service's tables as they are now.

        Raises:
            ValueError: The URL is of another kind of database.
        """
        database = cls(_engine(url))
        async with database.engine.begin() as connection:
            await connection.run_sync(_bring_up_to_date, package, tables)
        return database

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Runs a block in one transaction that may write: it is committed at the end, or rolled back where the block raises.

        What the block reads and then changes it must read `with_for_update()`: SQLite lets one writer in at a time, PostgreSQL many.
        """
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Runs a block in one transaction that only reads, and holds up no writer."""
        async with self.engine.connect() as connection:
            await connection.execution_options(**{_READ_ONLY: True})
            async with connection.begin():
                yield connection


def insert_into(table: Table, reached: AsyncEngine | AsyncConnection) -> "sqlite.Insert":
    """Returns the INSERT of a database's own dialect, which knows what to do with a row that is there already: both have it alike."""
    # Only the dialect in use is imported: the other one is megabytes.
    if reached.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert(table)
    from sqlalchemy.dialects.postgresql import insert as insert_postgresql

    return cast("sqlite.Insert", insert_postgresql(table))


def _engine(url: str) -> AsyncEngine:
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            engine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"), pool_size=4, max_overflow=0)
            event.listen(engine.sync_engine, "connect", prepare_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
            return engine
        case "postgresql":
            settings = {"server_settings": {"application_name": "parade", "statement_timeout": str(STATEMENT_TIMEOUT_MS)}, "timeout": 10}
            engine = create_async_engine(
                parsed.set(drivername="postgresql+asyncpg"), pool_size=8, max_overflow=0, pool_pre_ping=True, connect_args=settings
            )
            event.listen(engine.sync_engine, "handle_error", _give_up_confused)
            return engine
        case other:
            raise ValueError(f"{other} is not supported; use sqlite or postgresql")


def prepare_sqlite(connection: DBAPIConnection | sqlite3.Connection, _: Any = None) -> None:
    """Sets a new connection to SQLite up: for those of a pool, and for one that a service has for itself."""
    connection.isolation_level = None  # the driver begins no transaction by itself; `_begin_sqlite` does
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # what is acknowledged is on the disk, also after a power cut
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _give_up_confused(context: ExceptionContext) -> None:
    # A connection that broke, or whose user was cancelled, in the middle of something stays in it for good, and SQLAlchemy would keep it.
    if type(context.original_exception).__name__ == "InternalClientError":
        context.is_disconnect = True


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that will write takes the write lock first: one that reads, then writes, could otherwise lose to another in between.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(_READ_ONLY) else "BEGIN IMMEDIATE")


def _bring_up_to_date(connection: Connection, package: str, tables: MetaData) -> None:
    versions = resources.files(package) / "migrations" / "versions"
    newest = max(re.findall(r"^(\d{4})_", "\n".join(entry.name for entry in versions.iterdir()), re.MULTILINE))
    version_table = f"alembic_version_{package.removeprefix('parade_')}"
    if connection.dialect.name == "postgresql":
        # Replicas that start together take turns.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": version_table})
        _complete_indexes(tables)
    if not inspect(connection).has_table(version_table):
        tables.create_all(connection)
        connection.execute(text(f"CREATE TABLE {version_table} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text(f"INSERT INTO {version_table} VALUES (:newest)"), {"newest": newest})  # noqa: S608
        return
    version = connection.execute(text(f"SELECT version_num FROM {version_table}")).scalar() or ""  # noqa: S608
    # A newer replica may have migrated already, and this one goes on beside it until it is replaced too.
    if version < newest:
        _migrate(connection, package, version_table)


def _complete_indexes(tables: MetaData) -> None:
    # A table says of an index which rows it has for SQLite alone: to say it for PostgreSQL too would load that dialect everywhere.
    for table in tables.tables.values():
        for index in table.indexes:
            if index.dialect_kwargs.get("sqlite_where") is not None:
                index.dialect_kwargs["postgresql_where"] = index.dialect_kwargs["sqlite_where"]


def _migrate(connection: Connection, package: str, version_table: str) -> None:
    # Alembic takes half a second and 10 MB to import, and most starts have nothing for it to do.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files(package) / "migrations"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table
    command.upgrade(config, "head")
