"""The parts that lead the runs of this replica, wired, with their beginning and their end."""

import asyncio
import os
from collections.abc import Collection, Coroutine
from contextlib import suppress
from random import SystemRandom
from typing import Any, Final

from parade.wire.errors import ParadeError
from parade_chassis.lifecycle import Process
from parade_scheduler.config import Config
from parade_scheduler.decider import Decider
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.definitions.durables import Durables
from parade_scheduler.definitions.secrets import Secrets, taken_from
from parade_scheduler.effects import Effects
from parade_scheduler.leading.journal import Journal
from parade_scheduler.leading.keeper import Keeper
from parade_scheduler.leading.loader import Loader
from parade_scheduler.leading.ownership import AllShards, LeasedShards, Shards
from parade_scheduler.leading.remote import Inbox, Outbox
from parade_scheduler.leading.retention import forget_old_runs
from parade_scheduler.leading.watchers import Watchers
from parade_scheduler.storage.store import Store

LAST_WRITES: Final = 10.0
"""Seconds that the last outcomes may take to be stored at the end of the process; what is not is found out by the next."""


class Leadership:
    """Leads runs: alone over an embedded database, or beside other replicas over a shared one.

    Attributes:
        watchers: Who waits for news of runs.
        shards: Which runs are this replica's.
        catalogue: The workflows.
        journal: The writer.
        outbox: What is meant for others' runs goes there.
        inbox: What others, or this replica itself, left for its runs comes from there.
    """

    def __init__(self, process: Process[Config], store: Store, durables: Durables, *, alone: bool) -> None:
        """Takes the process, its store, and who knows workflows in code; `alone` says that no other process uses the database."""
        self._process = process
        self._store = store
        clock, log = process.clock, process.log
        self.watchers = Watchers()
        secrets = Secrets(process.config.secrets, clock, taken_from(os.environ))
        self.catalogue = Catalogue(store, durables, secrets, clock, alone=alone)
        self.outbox = Outbox(store, clock, process.ids)
        owner = process.ids.new("scheduler")
        self._leased = None if alone else LeasedShards(store, owner, process.config.listen, log)
        self.shards: Shards = self._leased or AllShards()
        self.journal = Journal(store, Decider(SystemRandom().random), clock, self.shards, self.watchers, log)
        self._loops: list[asyncio.Task[None]] = []
        self._loader = Loader(store, self.catalogue, self.journal, self.shards, clock, log)
        self.inbox = Inbox(store, self.journal, self.catalogue, clock, log)
        self._keeper = None if self._leased is None else Keeper(self._leased, self.journal, self._loader.take_over, clock, log)

    async def begin(self, effects: Effects) -> None:
        """Takes up the runs there are, and leads from here on."""
        process = self._process
        if self._keeper is None:
            self._loader.take_over(self.shards.held)
        else:
            await self._keeper.claim()
            self.background(self._keeper.keep(), "leases")
            self.background(self.inbox.listen(), "notifications")
        self.background(self.inbox.lead(self.held), "commands")
        self.background(self.journal.lead(effects), "journal")
        self.background(self._loader.lead(), "loader")
        self.background(self._loader.wake(self.held), "waking")
        forgetting = forget_old_runs(self._store, process.config.retention, lambda: 0 in self.held(), process.clock, process.log)
        self.background(forgetting, "retention")

    async def end(self, effects: Effects) -> None:
        """Lets what was handed out come to its end, stores it, and hands everything over. The store is not used after that."""
        self.journal.end()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(effects.end())
            if self._keeper is not None:
                tasks.create_task(self._keeper.leave(self._process.config.drain_timeout))
        try:
            async with asyncio.timeout(LAST_WRITES):
                await self.journal.written()
        except TimeoutError:
            self._process.log.warning("ended before everything was stored")
        for loop in self._loops:
            loop.cancel()
        await asyncio.wait(self._loops)
        if self._leased is not None:
            with suppress(ParadeError):
                await self._leased.leave()

    def background(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """Runs a loop until everything that is led here is stored or handed over, at the end of the process."""
        self._loops.append(self._process.background(loop, name))

    def held(self) -> Collection[int]:
        """Returns the shards of this replica."""
        return self.shards.held
