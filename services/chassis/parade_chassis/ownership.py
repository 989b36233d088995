"""The right to lead over a database: one process of a service has it at a time, and others stand by.

On PostgreSQL it is an advisory lock of a session: a process that writes over that session loses the means to write with the lock.
On SQLite, whose database lies on one machine, it is a lock on a file beside the database, which the kernel gives up with the process.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Self

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_chassis.store import Database

RETRY_INTERVAL: Final = 0.5
"""Seconds between two attempts of a standby to take over."""
CHECK_INTERVAL: Final = 5.0
"""Seconds between two looks whether the connection still lives."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds that the database may take for the answer."""

_TRY_LOCK: Final = text("SELECT pg_try_advisory_lock(hashtext(:service))")


class Ownership:
    """The right to lead, and the connection that it comes with."""

    def __init__(self, connection: AsyncConnection, lock_file: int | None) -> None:
        """Takes what is held; see `acquire`."""
        self._connection = connection
        self._lock_file = lock_file
        self._in_use = asyncio.Lock()

    @classmethod
    async def acquire(cls, database: Database, service: str, clock: Clock, log: Log) -> Self:
        """Waits until no other process leads, then leads.

        Args:
            database: The opened database.
            service: Whose right it is; several services can share a database.
            clock: Measures the pauses.
            log: Says once that it waits.
        """
        waited = False
        while True:
            owned = await (cls._try_file(database, service) if database.is_sqlite else cls._try_session(database, service))
            if owned is not None:
                return owned
            if not waited:
                log.info("another replica leads; standing by")
                waited = True
            await clock.sleep(RETRY_INTERVAL)

    @classmethod
    async def _try_file(cls, database: Database, service: str) -> Self | None:
        path = Path(f"{database.engine.url.database}.{service}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(await database.engine.connect(), descriptor)

    @classmethod
    async def _try_session(cls, database: Database, service: str) -> Self | None:
        connection = await database.engine.connect()
        try:
            async with connection.begin():
                locked = (await connection.execute(_TRY_LOCK, {"service": f"parade_{service}"})).scalar_one()
        except BaseException:
            await connection.close()
            raise
        if locked:
            return cls(connection, None)
        await connection.close()
        return None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Runs a block in one transaction that may write. On PostgreSQL it fails where the right is lost."""
        async with self._in_use, self._connection.begin():
            yield self._connection

    async def keep(self, clock: Clock) -> None:
        """Looks again and again whether the right is still held.

        Raises:
            RuntimeError: It is lost; the process must stop, for another may lead by now.
        """
        while True:
            await clock.sleep(CHECK_INTERVAL)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT), self.transaction() as connection:
                    await connection.execute(text("SELECT 1"))
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                raise RuntimeError("the right to lead is lost") from error

    async def release(self) -> None:
        """Gives the right up, as the last act. Giving it up again changes nothing."""
        # The session ends with its connection, and with it the lock; a pooled connection would keep it.
        with suppress(SQLAlchemyError, OSError):
            await self._connection.invalidate()
            await self._connection.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
