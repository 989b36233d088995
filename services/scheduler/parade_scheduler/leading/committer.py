"""Commits what has been decided on, and sees to what a commit that fails leaves behind.

Whether a batch is stored whose commit failed, the store alone knows. Where it is, all goes on; where it is not, its runs are forgotten and
taken up again as they are stored, who asked is told, and what attempts reported is tried again.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.backoff import Backoff
from parade_scheduler.crash_points import reached
from parade_scheduler.decider import Recovered
from parade_scheduler.leading.happenings import ElsewhereError, Happening, Together
from parade_scheduler.leading.memory import Memory
from parade_scheduler.leading.ownership import Shards
from parade_scheduler.leading.release import Release
from parade_scheduler.storage.store import LostError, Store, TakenError, refusal

PAUSE: Final = Backoff(delay=0.1, factor=2.0, max_delay=5.0)
"""The waits after commits that failed."""


class Queue(Protocol):
    """What else waits to be written."""

    def drop(self, shards: Collection[int]) -> None:
        """Forgets the runs of shards that are no longer this replica's."""
        ...

    def try_again(self, happenings: Sequence[Happening], runs: Iterable[str]) -> None:
        """Takes runs up again as they are stored, and lets happen to them again what could not be stored."""
        ...

    def refuse_all(self, error: ParadeError) -> None:
        """Tells everybody who waits that whether their wish is stored is not known."""
        ...


class Committer:
    """Does it, one batch at a time."""

    def __init__(self, store: Store, memory: Memory, release: Release, clock: Clock, shards: Shards, queue: Queue, log: Log) -> None:
        """Takes where it writes, the runs in memory, what follows a commit, the time, what may be led, what else waits, and the log."""
        self._store = store
        self._memory = memory
        self._release = release
        self._clock = clock
        self._shards = shards
        self._queue = queue
        self._log = log
        self._failures = 0

    async def commit(self, batch: Together) -> None:
        """Stores a batch and releases what follows, whatever it takes."""
        while True:
            self._leave_out_dropped(batch)
            if not (changes := batch.changes):
                break
            reached("before_commit")
            try:
                await self._store.write(changes, self._shards.epochs(change.run.id for change in changes))
            except TakenError as error:
                self._give_up_starts(batch, error.runs)
            except LostError as error:
                self._give_up_shards(batch, error.shards)
            except Exception as error:  # noqa: BLE001  # whatever it is, the store alone knows what became of it
                if not await self._was_written(batch, error):
                    return
                break
            else:
                break
        reached("after_commit")
        self._failures = 0
        reached("before_release")
        for share in batch.shares.values():
            self._release.carry_out(share)
            reached("mid_release")

    def _leave_out_dropped(self, batch: Together) -> None:
        """Leaves out the runs whose shards were dropped since they were decided on, though these may have come back under a new epoch."""
        dropped = [run for run, share in batch.shares.items() if self._memory.runs.get(run) is not share.held]
        for share in batch.without(dropped):
            for happening in share.happenings:
                happening.refuse(ElsewhereError(happening.run))

    def _give_up_starts(self, batch: Together, runs: Collection[str]) -> None:
        for share in batch.without(runs):
            self._memory.forget(share.held.execution.run.id)
            for happening in share.happenings:
                happening.answer(None)

    def _give_up_shards(self, batch: Together, shards: Collection[int]) -> None:
        self._shards.lost(shards)
        gone = [run for run in batch.shares if not self._shards.owns(run)]
        for share in batch.without(gone):
            self._release.leave(share.held.execution.run.id)
            for happening in share.happenings:
                happening.refuse(ElsewhereError(happening.run))
        self._queue.drop(shards)

    async def _was_written(self, batch: Together, error: Exception) -> bool:
        """Finds out whether a batch whose commit failed is stored all the same. Where it is not, its runs are taken up anew as they are."""
        self._log.error("commit failed", runs=len(batch.shares), error=repr(error))
        answer = refusal(error) or ParadeError(Reason.INTERNAL, "the scheduler could not store this; its log says why")
        change = batch.changes[0]
        while True:
            try:
                if await self._store.was_written(change):
                    return True
                break
            except Exception as unknown:  # noqa: BLE001  # the database is away; nothing can be done before it is back
                self._queue.refuse_all(ParadeError(Reason.UNAVAILABLE, "the scheduler's database cannot be reached"))
                self._log.warning("database cannot be asked", error=repr(unknown))
                await self._pause()
        self._leave_out_dropped(batch)
        if refusal(error) is None and await self._stored_apart(batch):
            return False
        again: list[Happening] = []
        for run, share in batch.shares.items():
            self._memory.forget(run)
            for happening in share.happenings:
                happening.refuse(answer)
                if happening.reply is None and not isinstance(happening.occurrence, Recovered):
                    again.append(happening)
        await self._pause()
        self._queue.try_again(again, [run for run, share in batch.shares.items() if not share.is_new])
        return False

    async def _stored_apart(self, batch: Together) -> bool:
        """Stores each run on its own where it is no fault of the database's that they could not be stored together.

        Returns:
            Whether everything is done that can be; not for a run alone that is taken up again to be tried again.
        """
        if len(batch.shares) != 1:
            for run, share in batch.shares.items():
                await self.commit(Together({run: share}))
            return True
        [run] = batch.shares
        if self._memory.has_few_faults(run):
            return False
        self._log.error("run is left alone", run=run)
        for share in batch.without([run]):
            self._memory.forget(run)
            for happening in share.happenings:
                self._memory.end_attempt(happening)
                happening.refuse(ParadeError(Reason.INTERNAL, "the scheduler could not store this; its log says why"))
        return True

    async def _pause(self) -> None:
        self._failures += 1
        await self._clock.sleep(PAUSE.seconds(self._failures, lambda: 0.0))
