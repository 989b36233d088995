"""A journal over a real store in a temporary folder, with all that loads and wakes its runs, at a time that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text

from parade.wire.log import Log
from parade_chassis.clock import ManualClock
from parade_chassis.store import Database
from parade_scheduler.decider import CancelTask, Decider, Dispatch, Effect, Execution, Occurrence, Started
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.definitions.durables import Durables
from parade_scheduler.definitions.secrets import Secrets
from parade_scheduler.document import Document
from parade_scheduler.language import read
from parade_scheduler.leading.happenings import Whole
from parade_scheduler.leading.journal import Journal
from parade_scheduler.leading.loader import Loader
from parade_scheduler.leading.watchers import Watchers
from parade_scheduler.model import Run, Workflow
from parade_scheduler.ports import DurableFunction
from parade_scheduler.storage.store import Change, Store, shard_of
from parade_scheduler.storage.tables import METADATA
from tests.support.waiting import eventually

FLOW = "name: flow\nsteps: {a: {call: x.a}}"


class NoFunctions:
    """An agent_manager that knows of no agent."""

    async def registered(self, namespace: str, principal: str, agents: Collection[str]) -> frozenset[str]:
        return frozenset()

    async def first(self, namespace: str, principal: str) -> frozenset[str]:
        return frozenset()

    async def durable(self, namespace: str, full_name: str) -> DurableFunction | None:
        return None


class SomeShards:
    """The shards that the test says."""

    def __init__(self) -> None:
        self.held: Collection[int] = set(range(64))
        self.epoch = 1

    def owns(self, run: str) -> bool:
        return shard_of(run) in self.held

    def epochs(self, runs: Iterable[str]) -> Mapping[int, int] | None:
        return {shard_of(run): self.epoch for run in runs}

    def lost(self, shards: Collection[int]) -> None:
        self.held = set(self.held) - set(shards)

    def any(self) -> int | None:
        return next(iter(self.held), None)


class FailingStore(Store):
    """A store whose commits fail as a test says, before or after they were written."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.writes = 0

    async def write(self, changes: Collection[Change], shards: Mapping[int, int] | None) -> None:
        self.writes += 1
        if self.before:
            raise self.before.pop(0)
        await super().write(list(changes), shards)
        if self.after:
            raise self.after.pop(0)


class Led:
    """A journal, and what it has released."""

    def __init__(self, store: FailingStore, database: Database) -> None:
        self.store = store
        self.database = database
        self.clock = ManualClock()
        self.shards = SomeShards()
        self.watchers = Watchers()
        self.catalogue = Catalogue(store, Durables(NoFunctions(), self.clock), Secrets(None, self.clock), self.clock, alone=True)
        self.log = Log()
        self.released: list[tuple[str, Effect]] = []
        self.left: list[str] = []
        self.journal = self.new_journal()
        self.loader = Loader(store, self.catalogue, self.journal, self.shards, self.clock, self.log)
        self._tasks: list[asyncio.Task[None]] = []

    def new_journal(self) -> Journal:
        return Journal(self.store, Decider(lambda: 0.0), self.clock, self.shards, self.watchers, self.log)

    def release(self, run: Run, effect: Effect) -> None:
        self.released.append((run.id, effect))

    def leave(self, run: str) -> None:
        self.left.append(run)

    @property
    def dispatches(self) -> list[tuple[str, Dispatch]]:
        return [(run, effect) for run, effect in self.released if isinstance(effect, Dispatch)]

    @property
    def cancels(self) -> list[tuple[str, CancelTask]]:
        return [(run, effect) for run, effect in self.released if isinstance(effect, CancelTask)]

    async def put(self, source: str) -> None:
        definition = read(source)
        await self.catalogue.put(Workflow("default", definition.name, 0, definition.hash, "", source, self.clock.now()))

    def execution(self, number: int = 1, source: str = FLOW, request_id: str = "") -> Execution:
        definition = read(source)
        run = Run(f"run-{number:04}-07", "default", definition.name, 1, Document(b"{}"), self.clock.now(), request_id=request_id)
        return Execution(definition, run)

    async def begin(self, number: int = 1, source: str = FLOW, request_id: str = "") -> Whole | None:
        return await self.journal.start(self.execution(number, source, request_id), Started())

    async def happen(self, run: str, occurrence: Occurrence) -> Whole | None:
        """Lets something happen and moves the time on meanwhile, for the journal pauses where a commit fails."""
        asking = asyncio.create_task(self.journal.request(run, occurrence))
        await self.until(asking.done)
        return await asking

    async def until(self, condition: Callable[[], object]) -> None:
        """Moves the time on, a tenth of a second at a time, until something has come true."""

        async def moved() -> bool:
            await self.clock.advance(0.1)
            self.journal.timers.ring()
            return bool(condition())

        await eventually(moved)

    async def written(self) -> None:
        """Waits until everything is stored, and moves the time on meanwhile."""
        waiting = asyncio.create_task(self.journal.written())
        await self.until(waiting.done)

    def lead(self) -> None:
        self._tasks = [
            asyncio.create_task(self.journal.lead(self)),
            asyncio.create_task(self.loader.lead()),
            asyncio.create_task(self.loader.wake(lambda: self.shards.held)),
        ]

    async def crash(self) -> None:
        """Loses everything but the store, and begins anew from it."""
        await self.end()
        self.released.clear()
        self.journal = self.new_journal()
        self.loader = Loader(self.store, self.catalogue, self.journal, self.shards, self.clock, self.log)
        self.loader.take_over(self.shards.held)
        self.lead()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.journal.end()

    async def execute(self, statement: str) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text(statement))


@asynccontextmanager
async def leading(folder: Path, kind: type[FailingStore] = FailingStore) -> AsyncIterator[Led]:
    """Gives the block a journal whose workflow "flow" is stored; it begins when the test says `lead`."""
    database = await Database.open(f"sqlite:///{folder / 'store.db'}", "parade_scheduler", METADATA)
    led = Led(kind(database), database)
    await led.put(FLOW)
    try:
        yield led
    finally:
        await led.end()
        await led.store.close()
        await database.close()
