"""A process that leads over its database, after it has stood by for as long as another does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import MetaData

from parade_chassis.lifecycle import Process
from parade_chassis.ownership import Ownership
from parade_chassis.store import Database


@asynccontextmanager
async def leading(process: Process[Any], url: str, tables: MetaData) -> AsyncIterator[tuple[Database, Ownership] | None]:
    """Gives the block the service's database and the right to lead over it, once no other process has it.

    Where the process is asked to end before, the block gets None. A right that is lost later stops the process.

    Args:
        process: The process that is to lead.
        url: Where the database is; see `Database.open`.
        tables: The service's tables as they are now.
    """
    service, clock = process.service, process.clock
    database = await Database.open(url, f"parade_{service}", tables)
    ownership = await process.unless_stopped(Ownership.acquire(database, service, clock, process.log))
    if ownership is None:
        yield None
    else:
        process.background(ownership.keep(clock), "ownership")
        yield database, ownership
        await ownership.release()
    await database.close()


@asynccontextmanager
async def sharing(process: Process[Any], url: str, tables: MetaData) -> AsyncIterator[Database | None]:
    """Gives the block the service's database, which replicas share on PostgreSQL: how they do is the service's own business.

    SQLite has one replica: there the block begins once no other process has the database. Where this one is asked to end before, the block
    gets None.

    Args:
        process: The process that is to use it.
        url: Where the database is; see `Database.open`.
        tables: The service's tables as they are now.
    """
    if url.startswith("sqlite"):
        async with leading(process, url, tables) as led:
            yield None if led is None else led[0]
        return
    database = await Database.open(url, f"parade_{process.service}", tables)
    try:
        yield database
    finally:
        await database.close()
