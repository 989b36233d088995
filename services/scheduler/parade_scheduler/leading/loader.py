"""Brings runs into memory: those that something happened to, those whose time comes soon, and those of shards that were taken over.

One task does it all, so that nothing is read of a run that is being taken up already.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from itertools import islice
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.backoff import Backoff
from parade_scheduler.decider import Execution
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.leading.journal import Journal
from parade_scheduler.leading.ownership import Shards
from parade_scheduler.storage.records import NewerError
from parade_scheduler.storage.store import Store, Stored

CHUNK: Final = 200
"""How many runs are read at once."""
AHEAD: Final = 5.0
"""Seconds by which a parked run is loaded before its time."""
INTERVAL: Final = 1.0
"""Seconds between two looks at whose time comes."""
MAX_DUE: Final = 2_000
"""How many runs whose time comes are taken up at once."""
PAUSE: Final = Backoff(delay=0.1, factor=2.0, max_delay=5.0)
"""The waits after the store could not be read."""


class Loader:
    """Takes up runs as they are stored."""

    def __init__(self, store: Store, catalogue: Catalogue, journal: Journal, shards: Shards, clock: Clock, log: Log) -> None:
        """Takes where runs are read, where their definitions are, who takes them up, which of them may be led, the time and the log."""
        self._store = store
        self._catalogue = catalogue
        self._journal = journal
        self._shards = shards
        self._clock = clock
        self._log = log
        self._taken_over: set[int] = set()
        self._failures = 0

    def take_over(self, shards: Collection[int]) -> None:
        """Asks for the runs of shards that came to this replica."""
        self._taken_over |= set(shards)
        self._journal.wanted.set()

    async def lead(self) -> None:
        """Loads for as long as the process lives."""
        while True:
            await self._journal.wanted.wait()
            self._journal.wanted.clear()
            while self._taken_over or self._journal.missing:
                try:
                    await self._load()
                    self._failures = 0
                except ParadeError as error:
                    self._log.warning("runs cannot be read", error=str(error))
                    for run in list(self._journal.missing):
                        self._journal.refuse(run, error)
                    self._failures += 1
                    await self._clock.sleep(PAUSE.seconds(self._failures, lambda: 0.0))

    async def wake(self, shards: Callable[[], Collection[int]]) -> None:
        """Has parked runs taken up shortly before their time, for as long as the process lives.

        Args:
            shards: Gives the shards of this replica.
        """
        while True:
            try:
                limit = MAX_DUE + self._journal.waking
                due = await self._store.due(shards(), self._clock.now() + timedelta(seconds=AHEAD), limit)
            except ParadeError as error:
                self._log.warning("it cannot be read whose time comes", error=str(error))
                due = []
            new = [run for run, _ in due if not self._journal.holds(run)]
            self._journal.want(new)
            if len(new) < MAX_DUE:
                await self._clock.sleep(INTERVAL)
            else:
                await self._journal.written()

    async def _load(self) -> None:
        """Asks for the runs of shards that were taken over, or loads some of those that were asked for."""
        if self._taken_over:
            # One that goes and comes back while this reads is asked for once more.
            shards, self._taken_over = self._taken_over, set()
            try:
                unfinished = await self._store.unfinished(shards)
            except ParadeError:
                self._taken_over |= shards
                raise
            self._journal.want(unfinished)
            if unfinished:
                self._log.info("runs are taken up", count=len(unfinished), shards=len(shards))
        elif self._journal.missing:
            await self._load_missing(list(islice(self._journal.missing, CHUNK)))

    async def _load_missing(self, runs: list[str]) -> None:
        epochs = {run: self._shards.epochs([run]) for run in runs}
        try:
            found = await self._store.load(runs)
        except Exception as error:
            if isinstance(error, ParadeError) and not isinstance(error, NewerError):
                raise
            if len(runs) == 1:
                self._give_up(runs[0], error)
                return
            for run in runs:  # one that cannot be read must not keep the others from being led
                await self._load_missing([run])
            return
        for run in set(runs).difference(stored.run.id for stored in found):
            if self._shards.epochs([run]) == epochs[run]:
                self._journal.settle(run, None)
        await self._adopt(found, epochs)

    async def _adopt(self, found: Collection[Stored], epochs: Mapping[str, Mapping[int, int] | None]) -> None:
        """Takes up runs whose shards have the same epochs as before they were read; one that went and came back may have changed since."""
        for stored in found:
            run = stored.run
            try:
                execution = None if run.ended else await self._execution_of(stored)
            except Exception as error:  # see `_load_missing`
                if isinstance(error, ParadeError) and error.reason is Reason.UNAVAILABLE:
                    raise
                self._give_up(run.id, error)
                continue
            if self._shards.epochs([run.id]) != epochs[run.id]:
                continue
            if execution is None:
                self._journal.settle(run.id, (run, stored.steps))
            else:
                self._journal.adopt(execution, stored.entries, parked=stored.parked, wake=stored.wake, time=stored.time)
        # A thousand runs at once must not hold up what else goes on.
        await asyncio.sleep(0)

    async def _execution_of(self, stored: Stored) -> Execution:
        definition = await self._catalogue.definition_of(stored.run)
        return self._catalogue.execution(definition, stored.run, stored.steps, stored.tasks)

    def _give_up(self, run: str, error: Exception) -> None:
        """Leaves a run as it is stored, because it cannot be made of that."""
        self._log.error("run cannot be taken up", run=run, exception=error)
        told = (
            error
            if isinstance(error, ParadeError)
            else ParadeError(Reason.INTERNAL, "the run cannot be read; the scheduler's log says why")
        )
        self._journal.give_up(run, told)
