"""Which replica writes which shards, said by leases in the database, by the database's own time."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import BigInteger, cast, delete, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_chassis.store import insert_into
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.rows import SHARD_COUNT
from parade_scheduler.storage.tables import REPLICAS, SHARDS

_MICROS: Final = 1_000_000
_FORGOTTEN: Final = 60 * _MICROS
"""How long a replica's row is kept after its lease has ended."""
_NOBODY: Final = ""


class Leases(Connected):
    """The leases. A replica's lease is one row, and holds for all the shards that it owns."""

    async def claim(self, owner: str, address: str, wanted: int, lease: float) -> dict[int, int]:
        """Prolongs a replica's lease, and takes shards that are nobody's or whose owner's lease has ended.

        Args:
            owner: The replica, by an id that no other process has had.
            address: Where it listens.
            wanted: How many shards it wants in all; it keeps those that it has above that.
            lease: For how many seconds from now.

        Returns:
            The epochs of all shards that it owns now. One that it owned before and that is missing was taken from it.
        """
        async with self._writing() as connection:
            await self._beat(connection, owner, address, lease)
            owned = await _owned(connection, owner)
            if len(owned) < wanted:
                await self._add_shards(connection)
                await self._take(connection, owner, wanted - len(owned))
                owned = await _owned(connection, owner)
            return owned

    async def release(self, owner: str, shards: Collection[int]) -> None:
        """Makes shards that a replica owns nobody's."""
        mine = SHARDS.c.owner == owner, SHARDS.c.id.in_(sorted(shards))
        async with self._writing() as connection:
            await connection.execute(update(SHARDS).where(*mine).values(owner=_NOBODY))

    async def leave(self, owner: str) -> None:
        """Ends a replica's lease, and makes all that it owns nobody's."""
        async with self._writing() as connection:
            await connection.execute(update(SHARDS).where(SHARDS.c.owner == owner).values(owner=_NOBODY))
            await connection.execute(delete(REPLICAS).where(REPLICAS.c.id == owner))

    async def replicas(self) -> int:
        """Returns how many replicas there are whose leases hold."""
        async with self._reading() as connection:
            query = select(func.count()).select_from(REPLICAS).where(REPLICAS.c.expires > self._now)
            return int((await connection.execute(query)).scalar_one())

    @property
    def _now(self) -> Any:
        """The database's time, in microseconds."""
        if self._database.is_sqlite:
            return literal_column("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)", BigInteger)
        return cast(func.extract("epoch", func.clock_timestamp()) * _MICROS, BigInteger)

    async def _beat(self, connection: AsyncConnection, owner: str, address: str, lease: float) -> None:
        values = {"address": address, "expires": self._now + int(lease * _MICROS)}
        statement = insert_into(REPLICAS, connection).values(id=owner, **values)
        await connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
        # Others strike off the same, so nobody waits for the other's row.
        forgotten = select(REPLICAS.c.id).where(REPLICAS.c.expires < self._now - _FORGOTTEN).with_for_update(skip_locked=True)
        ids = [row.id for row in await connection.execute(forgotten)]
        if ids:
            await connection.execute(delete(REPLICAS).where(REPLICAS.c.id.in_(ids)))

    async def _add_shards(self, connection: AsyncConnection) -> None:
        known = (await connection.execute(select(func.count()).select_from(SHARDS))).scalar_one()
        if known < SHARD_COUNT:
            rows = [{"id": shard, "owner": _NOBODY, "epoch": 0} for shard in range(SHARD_COUNT)]
            await connection.execute(insert_into(SHARDS, connection).on_conflict_do_nothing(), rows)

    async def _take(self, connection: AsyncConnection, owner: str, count: int) -> None:
        alive = select(REPLICAS.c.id).where(REPLICAS.c.expires > self._now)
        # Whoever writes under the old owner's epoch holds the row's key: this passes such rows over until that has come to its end.
        free = select(SHARDS.c.id).where(SHARDS.c.owner.not_in(alive)).order_by(SHARDS.c.id).limit(count).with_for_update(skip_locked=True)
        ids = [row.id for row in await connection.execute(free)]
        if ids:
            taking = update(SHARDS).where(SHARDS.c.id.in_(ids)).values(owner=owner, epoch=SHARDS.c.epoch + 1)
            await connection.execute(taking)


async def _owned(connection: AsyncConnection, owner: str) -> dict[int, int]:
    rows = await connection.execute(select(SHARDS.c.id, SHARDS.c.epoch).where(SHARDS.c.owner == owner))
    return {row.id: row.epoch for row in rows}
