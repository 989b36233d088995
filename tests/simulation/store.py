"""The store of a replica in a schedule, over the simulated server, which finds out who keeps shards in a wrong way."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import BigInteger, literal
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_scheduler.storage.store import Store
from tests.simulation.database import SimulatedDatabase, SimulatedWriter


class SimulatedStore(Store):
    """The store over a simulated server."""

    def __init__(self, database: SimulatedDatabase) -> None:
        """Takes how the server is reached."""
        super().__init__(database)
        self._server = database.server
        self._way = database
        self._writer = SimulatedWriter(database)

    async def claim(self, owner: str, address: str, wanted: int, lease: float) -> dict[int, int]:
        """Claims, and notes under which name."""
        self._way.life.name = owner
        self._server.lives[owner] = self._way.life
        return await super().claim(owner, address, wanted, lease)

    async def release(self, owner: str, shards: Collection[int]) -> None:
        """Releases shards, and notes under which epochs."""
        for shard, epoch in self._server.rows("SELECT id, epoch FROM shard WHERE owner = ?", owner):
            if shard in shards:
                self._server.given_up[owner, shard] = epoch
        await super().release(owner, shards)

    async def _take(self, connection: AsyncConnection, owner: str, count: int) -> None:
        """Takes shards, but from nobody who lives and reaches the database: such a one renews its lease in time."""
        server = self._server
        owners = dict(server.rows("SELECT id, owner FROM shard WHERE owner != ''"))
        await super()._take(connection, owner, count)
        for (shard,) in server.rows("SELECT id FROM shard WHERE owner = ?", owner):
            life = server.lives.get(owners.get(shard, owner))
            if life is not None and life is not self._way.life and server.is_settled and not life.dead and not life.halted:
                server.faults.append(f"{owner} takes the shard {shard} from {life.name}, which lives")

    async def hear(self, told: Callable[[], None]) -> None:
        """Hears of commands until the connection breaks."""
        if self._way.cut:
            raise OSError("simulated: no connection")
        self._server.heard.append(told)
        try:
            await asyncio.sleep(self._server.chance.uniform(5, 60))
        finally:
            self._server.heard.remove(told)

    @property
    def _now(self) -> Any:
        return literal(self._server.micros, BigInteger)
