"""A scheduler in a schedule: the real parts from the store to the operations, over a simulated server, mesh and clock."""

import asyncio
import random
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar, cast

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.ids import Ids
from parade_chassis.lifecycle import Process
from parade_scheduler.config import Config
from parade_scheduler.decider import TaskSucceeded
from parade_scheduler.definitions.durables import Durables
from parade_scheduler.effects import Effects
from parade_scheduler.engine import Engine
from parade_scheduler.leadership import Leadership
from parade_scheduler.operations import Operations
from parade_scheduler.rights import Rights
from parade_scheduler.starts.children import Children
from parade_scheduler.starts.starter import Starter
from parade_scheduler.storage.rows import shard_of
from parade_scheduler.triggers.events import Events
from parade_scheduler.triggers.triggers import Triggers
from tests.simulation.database import Server, SimulatedDatabase
from tests.simulation.durables import Functions
from tests.simulation.mesh import AttemptKey, Mesh, SimulatedCaller
from tests.simulation.store import SimulatedStore
from tests.simulation.time import Life, SimulatedClock
from tests.support.standing import Everyone, no_policies

ResultT = TypeVar("ResultT")
EXPECTED = frozenset({"commit failed", "ended before everything was stored"})
"""Errors that a log may have where nothing but the simulated faults is to blame."""


class GoneError(Exception):
    """The process that was asked is gone, or does not answer."""


class NotingLog(Log):
    """A log that keeps what must not have happened."""

    is_loud: ClassVar[bool] = False
    """Whether everything is written out."""

    def __init__(self, life: Life, faults: list[str]) -> None:
        """Takes whose it is, and where faults are noted."""
        super().__init__()
        self._life = life
        self._faults = faults

    def _write(self, level: str, event: str, fields: Any, exception: str = "") -> None:
        if self.is_loud:
            time = asyncio.get_running_loop().time() - 1000
            sys.stdout.write(f"{time:9.4f} {self._life.name} {level} {event} {fields} {exception}\n")

    def error(self, event: str, /, *, exception: BaseException | None = None, **fields: Any) -> None:
        """Notes what is no simulated fault."""
        super().error(event, exception=exception, **fields)
        if event not in EXPECTED or "simulated" not in str(fields):
            self._faults.append(f"{self._life.name} logs: {event} {fields} {exception!r}")


class SimulatedProcess:
    """The process around a scheduler."""

    def __init__(self, life: Life, chance: random.Random, address: str, faults: list[str]) -> None:
        """Takes what it needs of the schedule."""
        self.life = life
        self.config: Config = Config.model_construct(listen=address, database_url="", dispatcher="", agent_manager="", drain_timeout=3.0)
        self.clock = SimulatedClock()
        self.ids = Ids(self.clock, chance.getrandbits)
        self.log = NotingLog(life, faults)
        self.standing, self.policies = Everyone(), no_policies()
        self._faults = faults

    def background(self, loop: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Runs a loop for as long as the process lives; one that ends is a fault."""

        async def supervised() -> None:
            try:
                await loop
            except Exception as error:  # every one is
                self._faults.append(f"the {name} loop of {self.life.name} failed: {error!r}")
                raise

        return asyncio.get_running_loop().create_task(supervised(), name=name)


class Replica:
    """One scheduler, which is started and ends again and again.

    Attributes:
        number: Which one it is.
        faults: What must not have happened.
    """

    def __init__(self, number: int, server: Server, mesh: Mesh, chance: random.Random, faults: list[str]) -> None:
        """Takes the world around it."""
        self.number = number
        self.faults = faults
        self._server = server
        self._mesh = mesh
        self._chance = chance
        self._starts = 0
        self._offset = 0.0
        self._process: SimulatedProcess | None = None
        self._gone = asyncio.Event()
        self.life: Life | None = None
        self.lives: list[Life] = []
        self.database: SimulatedDatabase | None = None
        self.engine: Engine | None = None

    @property
    def serves(self) -> bool:
        """Whether it can be asked."""
        return self.engine is not None and self.life is not None and not self.life.dead

    def start(self) -> None:
        """Starts the process, which serves when it is ready."""
        assert self.life is None or self.life.dead, "the one before is still there"
        self._starts += 1
        life = self.life = Life(f"replica-{self.number}.{self._starts}")
        self.lives.append(life)
        self.database = SimulatedDatabase(self._server, life)
        asyncio.get_running_loop().create_task(self._serve(life), context=life.context)

    async def _serve(self, life: Life) -> None:
        process = self._process = SimulatedProcess(life, self._chance, f"replica-{self.number}", self.faults)
        process.clock.offset = self._offset
        assert self.database is not None
        store = self.store = SimulatedStore(self.database)
        real = cast("Process[Config]", process)
        leadership = self.leadership = Leadership(real, store, Durables(Functions(), process.clock), alone=not self._server.shared)
        triggers = Triggers(real, self.database, store, leadership)
        rights = Rights(process)
        starter = Starter(real, store, leadership, triggers.limits, rights)
        engine = Engine(real, store, leadership, Functions(), starter, triggers.defined)
        children = Children(leadership.journal, starter, store, process.clock, process.log)
        caller = SimulatedCaller(self._mesh, life, self._epoch_of(life), self._has_stored(life), self._repeat)
        self._effects = Effects(real, caller, children, leadership.journal.report, rights)
        try:
            await leadership.begin(self._effects)
        except (ParadeError, TimeoutError):
            await process.clock.sleep(1.0)
            if not life.dead:  # as what watches over the process would
                self.kill()
                self.start()
            return
        self.events: Events = triggers.begin(starter, rights)
        self.operations = Operations(engine, store, leadership.catalogue, process.ids)
        self.engine = engine

    def kill(self) -> None:
        """Ends the process at once."""
        assert self.life is not None
        self.life.halt()
        self.life.dead = True
        self._leave()

    async def stop(self) -> bool:
        """Ends the process as SIGTERM does; returns whether it came to that, and was not killed before."""
        life, leadership = self.life, self.leadership
        assert life is not None
        self.engine = None
        leadership.watchers.end()
        ending = asyncio.get_running_loop().create_task(leadership.end(self._effects), context=life.context)
        killed = asyncio.get_running_loop().create_task(self._gone.wait())
        await asyncio.wait([ending, killed], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if life.dead:  # another process may have come in its place
            return False
        if not ending.done():
            self.faults.append(f"{life.name} does not end")
        elif not ending.cancelled() and ending.exception() is not None:
            self.faults.append(f"{life.name} fails at its end: {ending.exception()!r}")
        life.halt()
        life.dead = True
        self._leave()
        return True

    def left_over(self) -> list[str]:
        """Returns what it keeps of runs though all have ended."""
        if not self.serves:
            return []
        assert self.life is not None
        journal = self.leadership.journal
        kept = {"runs": journal.active, "shards with attempts": len(journal.busy()), "runs to load": len(journal.missing)}
        return [f"{self.life.name} keeps {count} {what} though all have ended" for what, count in kept.items() if count]

    def set_clock(self, seconds: float) -> None:
        """Sets its time of day ahead of the right one."""
        self._offset = seconds
        if self._process is not None:
            self._process.clock.offset = seconds

    async def ask(self, question: Coroutine[Any, Any, ResultT], patience: float = 15.0) -> ResultT:
        """Asks the process for something, as a client over the network does.

        Raises:
            GoneError: It is gone or does not answer; what was asked may happen all the same.
            ParadeError: What it answers.
        """
        life, gone = self.life, self._gone
        assert life is not None
        asking = asyncio.get_running_loop().create_task(question, context=life.context)
        waiting = asyncio.get_running_loop().create_task(gone.wait())
        await asyncio.wait([asking, waiting], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not asking.done():
            if not life.dead:
                asking.cancel()
            raise GoneError(life.name)
        if asking.cancelled():
            raise GoneError(life.name)
        return asking.result()

    def _leave(self) -> None:
        self.engine = None
        self._gone.set()
        self._gone = asyncio.Event()

    def _epoch_of(self, life: Life) -> Callable[[str], int]:
        def epoch_of(run: str) -> int:
            if not self._server.shared:
                return 1
            rows = self._server.rows("SELECT epoch FROM shard WHERE id = ? AND owner = ?", shard_of(run), life.name)
            return rows[0][0] if rows else 0

        return epoch_of

    def _has_stored(self, life: Life) -> Callable[[AttemptKey], bool]:
        return lambda attempt: life.name in self._server.wrote.get(attempt, ())

    def _repeat(self, run: str, told: Any) -> None:
        dispatch, output = told
        self.leadership.journal.report(run, TaskSucceeded(dispatch.step, dispatch.task, dispatch.attempt, output))
