"""The transactions of the stores. A database that cannot be reached is UNAVAILABLE."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import ParadeError, Reason
from parade_chassis.store import Database


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """Runs a block in one transaction that only reads.

    Raises:
        ParadeError: UNAVAILABLE.
    """
    async with _reachable(), database.reading() as connection:
        yield connection


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[AsyncConnection]:
    """Runs a block in one transaction that may write; it is committed at the end, or rolled back where the block raises.

    Raises:
        ParadeError: UNAVAILABLE.
    """
    async with _reachable(), database.transaction() as connection:
        yield connection


@asynccontextmanager
async def _reachable() -> AsyncIterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
        raise ParadeError(Reason.UNAVAILABLE, "the agent_manager's database cannot be reached") from error
