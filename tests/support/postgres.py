"""A PostgreSQL server for tests, fast instead of durable: what it holds survives its restart, but not the machine's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from benchmarks import postgres
from benchmarks.postgres import missing

__all__ = ["PostgresServer", "missing", "server"]

FAST: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
}


class PostgresServer(postgres.PostgresServer):
    """A server that gives each test a database of its own."""

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Makes an empty database for the block and gives its URL."""
        name = f"test_{uuid4().hex}"
        await self.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def server() -> PostgresServer:
    """Returns a server that runs for the time of a block."""
    return PostgresServer(FAST)
