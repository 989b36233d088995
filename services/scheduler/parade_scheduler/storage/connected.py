"""The ground of the store's parts: reading from the database, and what its failures are to those who ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import ParadeError, Reason
from parade_chassis.store import Database


class Connected:
    """Something with a database. One that cannot be reached is UNAVAILABLE to those who ask, one that is full NO_CAPACITY."""

    def __init__(self, database: Database) -> None:
        """Takes the opened database."""
        self._database = database

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        async with reachable(), self._database.reading() as connection:
            yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with reachable(), self._database.transaction() as connection:
            yield connection


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Turns the failures of a database into errors of Parade; those of what is written pass."""
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        found = _unfit(error) or refusal(error)
        if found is None:
            raise
        raise found from error


def _unfit(error: Exception) -> ParadeError | None:
    """Returns the error for what PostgreSQL cannot look for; SQLite looks for it and finds nothing."""
    if str(getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", "")) != "22021":
        return None
    return ParadeError(Reason.INVALID_ARGUMENTS, "a text in the request holds a NUL character, which no name or id has")


def refusal(error: BaseException) -> ParadeError | None:
    """Returns the error for a database that fails, by whatever way it was asked; None where it is what was asked that is wrong."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = str(getattr(cause, "sqlite_errorname", "") or getattr(cause, "sqlstate", "") or "")
    if code in ("SQLITE_FULL", "53100"):
        message = "the disk of the scheduler's database is full; nothing was changed, and nothing is accepted until there is room"
        return ParadeError(Reason.NO_CAPACITY, message, metadata={"retry_after": "5"})
    if code.startswith(("22", "23", "42", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_ERROR")):
        return None
    # asyncpg's own errors, which no server sent, are those of a connection that is gone.
    lost = type(cause).__module__.startswith("asyncpg.") or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if code or lost or isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | OSError):
        return ParadeError(Reason.UNAVAILABLE, f"the scheduler's database cannot be used now: {str(cause) or 'it does not answer'}")
    return None
