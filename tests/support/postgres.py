"""A PostgreSQL server for tests, fast instead of durable: what it holds survives its restart, but not the machine's."""

from collections.abc import AsyncIterator, Awaitable, Callable
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


LayOut = Callable[[str], Awaitable[None]]
"""Fills the database with a URL."""


class PostgresServer(postgres.PostgresServer):
    """A server that gives each test a database of its own."""

    def __init__(self) -> None:
        """Makes a server that runs for the time of a block."""
        super().__init__(FAST)
        self._templates: dict[LayOut, str] = {}

    @asynccontextmanager
    async def database(self, lay_out: LayOut | None = None) -> AsyncIterator[str]:
        """Makes a database for the block and gives its URL.

        Args:
            lay_out: Fills an empty database, once: what it made is copied for each block. Without it the database is empty.
        """
        name = f"test_{uuid4().hex}"
        template = "template1" if lay_out is None else await self._template(lay_out)
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _template(self, lay_out: LayOut) -> str:
        if lay_out not in self._templates:
            name = f"template_{uuid4().hex}"
            await self.execute(f"CREATE DATABASE {name}")
            await lay_out(self.url(name))
            self._templates[lay_out] = name
        return self._templates[lay_out]


def server() -> PostgresServer:
    """Returns a server that runs for the time of a block."""
    return PostgresServer()
