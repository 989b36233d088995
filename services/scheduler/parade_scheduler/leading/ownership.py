"""Which runs this replica leads. Every run lies in one of 64 shards, and every shard has at most one owner, who alone may write its runs.

On PostgreSQL the replicas share the shards out evenly: each renews a lease by the database's time, takes over what has no owner alive, and
hands over what is above its share. A shard's epoch grows with its every owner, and each transaction that writes runs checks it: who was
frozen or cut off, and no longer is the owner, can write nothing. SQLite has one replica, by a lock on a file, and all shards are its own.
"""

import asyncio
import math
import random
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol

from parade.wire.log import Log
from parade_scheduler.crash_points import reached
from parade_scheduler.storage.store import SHARD_COUNT, Store, shard_of

LEASE: Final = 6.0
"""Seconds after which a replica that says nothing more has lost its shards."""
ANSWER_TIMEOUT: Final = 5.0
"""Seconds that the database may take for a renewal."""


class Shards(Protocol):
    """The shards of this replica."""

    @property
    def held(self) -> Collection[int]:
        """Which they are."""
        ...

    def owns(self, run: str) -> bool:
        """Tells whether a run lies in one of them."""
        ...

    def epochs(self, runs: Iterable[str]) -> Mapping[int, int] | None:
        """Returns the shards of runs with the epochs that they were claimed with; None where there is nothing to fence."""
        ...

    def lost(self, shards: Collection[int]) -> None:
        """Notes that shards turned out to belong to another replica."""
        ...

    def any(self) -> int | None:
        """Returns a shard for a new run; None where this replica has none."""
        ...


class AllShards:
    """All shards, for good: those of the only replica there is."""

    def __init__(self) -> None:
        """Takes them."""
        self.held: Collection[int] = range(SHARD_COUNT)

    def owns(self, run: str) -> bool:  # noqa: ARG002  # as `Shards` has it
        """Every run is ours."""
        return True

    def epochs(self, runs: Iterable[str]) -> None:  # noqa: ARG002  # as `Shards` has it
        """Nothing needs a fence."""
        return

    def lost(self, shards: Collection[int]) -> None:
        """Never happens.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"the only replica cannot lose shards: {sorted(shards)}")

    def any(self) -> int:
        """Returns any shard."""
        return random.randrange(SHARD_COUNT)  # noqa: S311  # spreads load, and asks the kernel for nothing


class LeasedShards:
    """The shards that this replica has claimed."""

    def __init__(self, store: Store, owner: str, address: str, log: Log) -> None:
        """Takes where claims are made, this replica's name and address, and the log."""
        self._store = store
        self._owner = owner
        self._address = address
        self._log = log
        self._epochs: dict[int, int] = {}
        self._given_up: dict[int, int] = {}
        """The epochs under which shards were given up. None is led under that again, for a write of then may still be under way."""
        self._unreleased: set[int] = set()
        """The shards given up that are still this replica's in the database."""
        self._is_known = False

    @property
    def held(self) -> Collection[int]:
        """The shards that this replica has claimed and does not know to have lost."""
        return self._epochs.keys()

    def owns(self, run: str) -> bool:
        """Tells whether a run lies in a shard of this replica."""
        return shard_of(run) in self._epochs

    def epochs(self, runs: Iterable[str]) -> dict[int, int]:
        """Returns the shards of runs with the epochs that they were claimed with."""
        return {shard: self._epochs.get(shard, 0) for shard in set(map(shard_of, runs))}

    def lost(self, shards: Collection[int]) -> None:
        """Notes that shards turned out to belong to another replica."""
        for shard in shards:
            self._epochs.pop(shard, None)

    def any(self) -> int | None:
        """Returns one of the shards."""
        return secrets.choice(tuple(self._epochs)) if self._epochs else None

    async def claim(self, *, more: bool = True) -> tuple[set[int], set[int]]:
        """Renews what this replica has, and takes its share of what has no owner.

        Args:
            more: Whether to take anything that this replica does not have.

        Returns:
            The shards that are new, and those that are lost. One that was lost and taken back in between is both.

        Raises:
            ParadeError: UNAVAILABLE, where the database cannot be reached.
        """
        before = dict(self._epochs)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            owned = await self._store.claim(self._owner, self._address, await self._share() if more else 0, LEASE)
        self._is_known = True
        now = {shard: epoch for shard, epoch in owned.items() if self._given_up.get(shard) != epoch}
        self._unreleased = owned.keys() - now.keys()
        # A shard that turned out to be lost while this was asked is not among `self._epochs` any more, and comes back as a new one.
        new = {shard for shard, epoch in now.items() if self._epochs.get(shard) != epoch}
        lost = {shard for shard in before if now.get(shard) != before[shard]}
        self._epochs = now
        if new or lost:
            reached("on_claim")
            self._log.info("shards", taken=len(new), lost=len(lost), held=len(now))
        return new, lost

    async def surplus(self) -> set[int]:
        """Returns the shards that this replica has above its share, and those given up before whose release failed."""
        count = len(self._epochs) - await self._share()
        return self._unreleased | (set(sorted(self._epochs)[-count:]) if count > 0 else set())

    def give_up(self, shards: Collection[int]) -> None:
        """Leads shards no more, so that they can be released."""
        for shard in shards:
            epoch = self._epochs.pop(shard, None)
            if epoch is not None:
                self._given_up[shard] = epoch

    async def release(self, shards: Collection[int]) -> None:
        """Makes shards that were given up nobody's, once what is being written of them is written."""
        await self._store.release(self._owner, shards)

    async def are_others(self) -> bool:
        """Tells whether another replica could take over."""
        return await self._store.replicas() > 1

    async def leave(self) -> None:
        """Gives up whatever is still held, as the last act."""
        await self._store.leave(self._owner)

    async def _share(self) -> int:
        replicas = await self._store.replicas()
        return math.ceil(SHARD_COUNT / max(1, replicas if self._is_known else replicas + 1))
