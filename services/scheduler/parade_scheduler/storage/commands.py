"""What is meant for runs that another replica leads, on its way there through the database."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.records import micros_of, time_of
from parade_scheduler.storage.tables import COMMANDS

CHANNEL: Final = "parade_scheduler"
"""Where PostgreSQL says that there is a command; the payload is its shard."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something that is to happen to a run."""

    id: str
    shard: int
    run: str
    kind: str
    data: bytes
    create_time: datetime


class Commands(Connected):
    """The commands that are not settled. `Store.write` deletes them together with what followed."""

    async def add_command(self, command: Command) -> None:
        """Leaves a command for the owner of its shard."""
        async with self._writing() as connection:
            await leave_commands(connection, [command])

    async def commands(self, shards: Collection[int], limit: int, after: str = "") -> list[Command]:
        """Returns commands of some shards that are not settled, oldest first, from the one after `after` on."""
        query = select(COMMANDS).where(COMMANDS.c.shard.in_(sorted(shards)), COMMANDS.c.id > after).order_by(COMMANDS.c.id).limit(limit)
        async with self._reading() as connection:
            return [
                Command(row.id, row.shard, row.run, row.kind, row.data, time_of(row.created)) for row in await connection.execute(query)
            ]

    async def command_settled(self, id: str) -> bool:
        """Tells whether a command that was left is settled: what followed is stored."""
        async with self._reading() as connection:
            return (await connection.execute(select(COMMANDS.c.id).where(COMMANDS.c.id == id))).one_or_none() is None

    async def unsettled(self, ids: Collection[str]) -> list[str]:
        """Returns which of some commands are not settled."""
        async with self._reading() as connection:
            return list((await connection.execute(select(COMMANDS.c.id).where(COMMANDS.c.id.in_(sorted(ids))))).scalars())

    async def drop_commands(self, ids: Collection[str]) -> None:
        """Deletes commands after which nothing followed: to a run that has ended, or that there is not."""
        async with self._writing() as connection:
            await connection.execute(delete(COMMANDS).where(COMMANDS.c.id.in_(sorted(ids))))

    async def hear(self, told: Callable[[], None]) -> None:
        """Calls back for every notification of PostgreSQL's, until its connection breaks."""
        async with self._database.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            broken = asyncio.Event()
            driver.add_termination_listener(lambda _: broken.set())
            await driver.add_listener(CHANNEL, lambda *_: told())
            try:
                await broken.wait()
            finally:
                await connection.invalidate()


async def leave_commands(connection: AsyncConnection, commands: Sequence[Command]) -> None:
    """Leaves commands for the owners of their shards, within a transaction."""
    if not commands:
        return
    rows = [
        {
            "id": command.id,
            "shard": command.shard,
            "run": command.run,
            "kind": command.kind,
            "data": command.data,
            "created": micros_of(command.create_time),
        }
        for command in commands
    ]
    await connection.execute(insert(COMMANDS), rows)
    if connection.dialect.name == "postgresql":
        for shard in sorted({command.shard for command in commands}):
            await connection.execute(text("SELECT pg_notify(:channel, :shard)"), {"channel": CHANNEL, "shard": str(shard)})
