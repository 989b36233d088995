"""Which runs this replica leads. Every run lies in one of 64 shards, and every shard has at most one owner, who alone may write its runs.

On PostgreSQL the replicas share the shards out evenly: each renews a lease by the database's time, takes over what has no owner alive, and
hands over what is above its share. A shard's epoch grows with its every owner, and each transaction that writes runs checks it: who was
frozen or cut off, and no longer is the owner, can write nothing. SQLite has one replica, by a lock on a file, and all shards are its own.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.journal import Journal
from parade_scheduler.store import SHARD_COUNT, Store, shard_of

LEASE: Final = 6.0
"""Seconds after which a replica that says nothing more has lost its shards."""
RENEWAL: Final = 2.0
"""Seconds between two renewals."""
ANSWER_TIMEOUT: Final = 5.0
"""Seconds that the database may take for a renewal."""
_LOOK: Final = 0.05
"""Seconds between two looks, at the end of the process, whether calls have ended."""


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
        return secrets.randbelow(SHARD_COUNT)


class LeasedShards:
    """The shards that this replica has claimed."""

    def __init__(self, store: Store, owner: str, address: str, log: Log) -> None:
        """Takes where claims are made, this replica's name and address, and the log."""
        self._store = store
        self._owner = owner
        self._address = address
        self._log = log
        self._epochs: dict[int, int] = {}
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

    async def claim(self) -> tuple[set[int], set[int]]:
        """Renews what this replica has, and takes its share of what has no owner.

        Returns:
            The shards that are new, and those that are lost. One that was lost and taken back in between is both.

        Raises:
            ParadeError: UNAVAILABLE, where the database cannot be reached.
        """
        before = dict(self._epochs)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            now = await self._store.claim(self._owner, self._address, await self._share(), LEASE)
        self._is_known = True
        # A shard that turned out to be lost while this was asked is not among `self._epochs` any more, and comes back as a new one.
        new = {shard for shard, epoch in now.items() if self._epochs.get(shard) != epoch}
        lost = {shard for shard in before if now.get(shard) != before[shard]}
        self._epochs = now
        if new or lost:
            reached("on_claim")
            self._log.info("shards", taken=len(new), lost=len(lost), held=len(now))
        return new, lost

    async def surplus(self) -> set[int]:
        """Returns the shards that this replica has above its share."""
        count = len(self._epochs) - await self._share()
        return set(sorted(self._epochs)[-count:]) if count > 0 else set()

    async def release(self, shards: Collection[int]) -> None:
        """Gives shards up, of which nothing is being written any more."""
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


class Keeper:
    """Keeps the leases of a replica, takes runs over, and hands them over."""

    def __init__(
        self, shards: LeasedShards, journal: Journal, take_over: Callable[[Collection[int]], None], clock: Clock, log: Log
    ) -> None:
        """Takes the shards, who leads their runs, who takes up the runs of new ones, the time and the log."""
        self._shards = shards
        self._journal = journal
        self._take_over = take_over
        self._clock = clock
        self._log = log
        self._leaving = False

    async def claim(self) -> None:
        """Claims once, as the process does before it serves.

        Raises:
            ParadeError: UNAVAILABLE, where the database cannot be reached.
        """
        new, lost = await self._shards.claim()
        if lost:
            self._journal.drop(lost, shard_of)
        if new:
            self._take_over(new)

    async def keep(self) -> None:
        """Renews and shares out for as long as the process lives."""
        while True:
            await self._clock.sleep(RENEWAL)
            if self._leaving:
                continue
            try:
                await self.claim()
                surplus = await self._shards.surplus()
                if surplus:
                    await self._hand_over(surplus)
            except (ParadeError, TimeoutError) as error:
                # Nothing can be written meanwhile either; whoever takes the shards over is found out by the first write.
                self._log.warning("leases could not be renewed", error=str(error))

    async def leave(self, seconds: float) -> None:
        """Hands everything over, at the end of the process: at once where no call is under way, the rest when its calls have ended.

        Args:
            seconds: How long calls may take; what has not ended by then is left to the next owner, who asks after it.
        """
        self._leaving = True
        if not await self._shards.are_others():
            return
        deadline = self._clock.monotonic() + seconds
        while self._shards.held:
            busy = self._journal.busy(shard_of) if self._clock.monotonic() < deadline else set()
            free = set(self._shards.held) - busy
            if free:
                await self._hand_over(free)
            else:
                await self._clock.sleep(_LOOK)

    async def _hand_over(self, shards: Collection[int]) -> None:
        # From here on nothing more is decided on their runs; what is being written has the lock on the shards' rows.
        self._shards.lost(shards)
        self._journal.drop(shards, shard_of)
        reached("on_handover")
        await self._shards.release(shards)
        self._log.info("shards handed over", count=len(shards), held=len(self._shards.held))
