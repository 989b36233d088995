"""The dispatchers and agents of a schedule, as a scheduler reaches them: they lose, delay and repeat, and count what they have done.

A function named `….effect` or `….undo` has effects: its calls are in the dispatchers' ledger, which no outage harms. Others may run twice.
"""

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.calls.caller import call_id
from parade_scheduler.decider import Dispatch
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run
from parade_scheduler.ports import Listener
from tests.simulation import durables
from tests.simulation.durables import Instances
from tests.simulation.time import Life

Key = tuple[str, str, int]
"""Run, step and task."""
AttemptKey = tuple[str, str, int, int]
"""Run, step, task and attempt."""

_EFFECTS: Final = (".effect", ".undo")


@dataclass
class Temper:
    """How likely the functions and the way to them are to fail, from 0 to 1."""

    outage: float = 0.0
    """The dispatchers cannot be reached."""
    full: float = 0.0
    """No instance has room."""
    lost: float = 0.0
    """The instance is lost while it is at work."""
    error: float = 0.0
    """The function fails."""
    late: float = 0.0
    """It takes seconds instead of milliseconds."""
    unheard: float = 0.0
    """The session is lost for so long that the scheduler gives the call up."""
    repeated: float = 0.0
    """An outcome is told once more."""


@dataclass
class Execution:
    """One time that an instance ran a function."""

    number: int
    key: Key
    attempt: int
    function: str
    done: bool = False
    """Whether it has done what it is for."""
    undoes: Any = None
    """What it was told to undo."""


@dataclass
class _Record:
    """What the ledger has of a call."""

    ended: "asyncio.Future[None]"
    outcome: Document | ParadeError | None = None


@dataclass
class Mesh:
    """All that is behind the scheduler.

    Attributes:
        temper: How it behaves now.
        executions: What instances have run.
        faults: What must not have been asked of them.
    """

    chance: random.Random
    temper: Temper = field(default_factory=Temper)
    executions: list[Execution] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ledger: dict[str, _Record] = field(default_factory=dict)
    instances: Instances = field(default_factory=Instances)
    """Those that take the turns of the durable function."""
    out: dict[AttemptKey, "SimulatedCall"] = field(default_factory=dict)
    """The attempts that a live process has handed out and not heard of."""

    def effects_of(self, key: Key) -> list[Execution]:
        """Returns what was done for a task."""
        return [execution for execution in self.executions if execution.key == key and execution.done]


class SimulatedCaller:
    """The mesh as one replica calls it."""

    def __init__(
        self,
        mesh: Mesh,
        life: Life,
        epoch_of: Callable[[str], int],
        has_stored: Callable[[AttemptKey], bool],
        repeat: Callable[[str, Any], None],
    ) -> None:
        """Takes what it stands between.

        Args:
            mesh: What it calls.
            life: The process that calls.
            epoch_of: Gives the epoch under which the process leads a run; 0 for none.
            has_stored: Tells whether the process has stored an attempt itself.
            repeat: Tells the process an outcome again.
        """
        self._mesh = mesh
        self.life = life
        self.epoch_of = epoch_of
        self._has_stored = has_stored
        self.repeat = repeat
        self.left = False

    def call(self, run: Run, dispatch: Dispatch, listener: Listener) -> "SimulatedCall":
        """Calls a function for a task.

        While another process waits for an attempt, only one that has stored it may hand it out too: a process that was frozen or cut off
        between a commit and what follows from it, and whose lease ended meanwhile, cannot know that another leads the run by now. Both
        calls have one id, by which the ledger knows effects again; a function without effects runs twice then, as after every takeover.
        """
        mesh = self._mesh
        if mesh.chance.random() < mesh.temper.full / 4:
            raise ParadeError(Reason.NO_CAPACITY, "simulated: too many calls wait")
        key = (run.id, dispatch.step, dispatch.task, dispatch.attempt)
        other = mesh.out.get(key)
        epoch = self.epoch_of(run.id)
        if other is not None and other.is_awaited(self) and (other.caller is self or epoch or not self._has_stored(key)):
            mesh.faults.append(f"{self.life.name} hands {key} out while {other.caller.life.name} waits for it")
        elif other is not None and other.told and other.caller is self and other.epoch == epoch:
            mesh.faults.append(f"{self.life.name} hands {key} out though it was told the outcome")
        call = mesh.out[key] = SimulatedCall(mesh, self, run, dispatch, listener, epoch)
        return call

    async def leave(self) -> None:
        """Goes away; the calls under way go on."""
        self.left = True


class SimulatedCall:
    """One call under way."""

    def __init__(self, mesh: Mesh, caller: SimulatedCaller, run: Run, dispatch: Dispatch, listener: Listener, epoch: int) -> None:
        """Sends it."""
        self.epoch = epoch
        self.told = False
        self._mesh = mesh
        self.caller = caller
        self._run = run
        self._dispatch = dispatch
        self._listener = listener
        self._key: Key = (run.id, dispatch.step, dispatch.task)
        self._over = False
        self._follows = False
        """Whether another call of the attempt has the function run, and this one waits for its outcome."""
        self._is_effect = dispatch.function.endswith(_EFFECTS)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._carry(), context=Context())

    def is_awaited(self, by: SimulatedCaller) -> bool:
        """Tells whether who made it waits for it so that `by` must not make it too."""
        maker = self.caller
        if self._over or maker.left or maker.life.dead:
            return False
        return maker is by or maker.epoch_of(self._run.id) > 0

    def cancel(self) -> None:
        """Cancels it; nothing is heard of it any more."""
        self._over = True
        if not self.caller.life.dead and not self.caller.left and self._mesh.chance.random() < 0.7:
            self._task.cancel()  # else it could not be stopped, or nobody heard of it

    async def _carry(self) -> None:
        mesh, dispatch, temper = self._mesh, self._dispatch, self._mesh.temper
        chance = mesh.chance
        await asyncio.sleep(chance.uniform(0.0005, 0.01))
        if chance.random() < temper.outage:
            await asyncio.sleep(chance.uniform(0, 0.5))
            # A call that may have arrived before was not certainly never sent; see `DispatcherCaller`.
            metadata = {} if dispatch.resumed else {NOT_SENT: "true"}
            self._tell_failure(ParadeError(Reason.UNAVAILABLE, "simulated: nobody there", metadata=metadata))
            return
        serving = self._loop.create_task(self._served())
        timeout = dispatch.timeout if dispatch.timeout is not None else 3600.0
        if chance.random() < temper.unheard:
            await asyncio.wait([serving], timeout=min(timeout, chance.uniform(0, 12)))
            self._tell_failure(ParadeError(Reason.UNAVAILABLE, "simulated: the session is lost"))
            if chance.random() < temper.repeated:
                await self._tell_stale(await serving)
            return
        try:
            await asyncio.wait([serving], timeout=timeout)
        except asyncio.CancelledError:
            serving.cancel()
            raise
        if not serving.done():
            # The agent has stopped the function and says so, or nothing is heard of it any more and it may go on. One that another
            # call has asked for goes on.
            is_stopped = not self._follows and chance.random() < 0.5 and serving.cancel()
            metadata = {"cancellation": "STOPPED"} if is_stopped else {}
            self._tell_failure(ParadeError(Reason.DEADLINE_EXCEEDED, "simulated: too late", metadata=metadata))
            return
        outcome = serving.result()
        await asyncio.sleep(chance.uniform(0.0005, 0.01) + (chance.uniform(1, 9) if chance.random() < temper.late / 2 else 0))
        if isinstance(outcome, Document):
            self._tell(lambda: self._listener.succeeded(outcome), outcome)
        else:
            self._tell_failure(outcome)

    async def _served(self) -> Document | ParadeError:
        """Returns what the dispatcher answers."""
        if not self._is_effect:
            return await self._executed()
        mesh, dispatch = self._mesh, self._dispatch
        id = call_id(self._run.id, dispatch)
        record = mesh.ledger.get(id)
        if record is not None:
            self._follows = True
            await asyncio.wait([record.ended])  # which one that is cancelled must not cancel for all
            assert record.outcome is not None
            return record.outcome
        if dispatch.redelivered and not dispatch.resumed:
            return ParadeError(Reason.OUTCOME_UNKNOWN, "simulated: it may have run before")
        record = mesh.ledger[id] = _Record(self._loop.create_future())
        try:
            outcome = await self._executed()
        except asyncio.CancelledError:
            record.outcome = ParadeError(Reason.CANCELLED, "simulated: cancelled")
            raise
        else:
            record.outcome = outcome
            if isinstance(outcome, ParadeError) and outcome.reason is Reason.NO_CAPACITY:
                del mesh.ledger[id]  # nothing has run
            return outcome
        finally:
            record.ended.set_result(None)

    async def _executed(self) -> Document | ParadeError:
        """Returns what an instance answers, or the dispatcher where the instance is lost."""
        mesh, dispatch, temper = self._mesh, self._dispatch, self._mesh.temper
        chance = mesh.chance
        if chance.random() < temper.full:
            return ParadeError(Reason.NO_CAPACITY, "simulated: full")
        if dispatch.function == durables.NAME:
            return await self._turned()
        execution = Execution(len(mesh.executions), self._key, dispatch.attempt, dispatch.function, undoes=dispatch.arguments.value)
        mesh.executions.append(execution)
        self._tell_news(lambda: self._listener.assigned(f"instance-{execution.number % 3}"))
        late = chance.random() < temper.late
        await asyncio.sleep(chance.uniform(1, 8) if late else chance.uniform(0.001, 0.1))
        if late and chance.random() < 0.3:
            self._tell_news(lambda: self._listener.progressed(Progress(0.5, "half")))
            await asyncio.sleep(chance.uniform(0, 2))
        is_lost = chance.random() < temper.lost
        if is_lost and chance.random() < 0.5:
            return self._lost()
        if chance.random() < temper.error:
            return ParadeError(Reason.AGENT_ERROR, "simulated: no luck", retryable=chance.random() < 0.6)
        execution.done = True
        return self._lost() if is_lost else Document.of({"execution": execution.number})

    async def _turned(self) -> Document | ParadeError:
        """Returns what an instance makes of a turn of a durable function: mostly the one that took the turns before."""
        mesh, dispatch, temper = self._mesh, self._dispatch, self._mesh.temper
        chance = mesh.chance
        home = crc32(self._run.id.encode())
        instance = (home if chance.random() < 0.8 else chance.randrange(durables.INSTANCES)) % durables.INSTANCES
        await asyncio.sleep(chance.uniform(1, 8) if chance.random() < temper.late else chance.uniform(0.001, 0.1))
        is_lost = chance.random() < temper.lost
        if is_lost and chance.random() < 0.5:
            return self._lost()
        answer = mesh.instances.take(instance, self._run.id, dispatch.arguments.data)
        if chance.random() < temper.lost:
            mesh.instances.lose(instance)
        return self._lost() if is_lost else answer

    def _lost(self) -> ParadeError:
        return ParadeError(Reason.OUTCOME_UNKNOWN if self._is_effect else Reason.AGENT_LOST, "simulated: the instance is lost")

    async def _tell_stale(self, outcome: Document | ParadeError) -> None:
        """Tells an outcome when another attempt may be under way."""
        await asyncio.sleep(self._mesh.chance.uniform(0, 1))
        life = self.caller.life
        if isinstance(outcome, Document) and not life.dead:
            self._loop.call_soon(self.caller.repeat, self._run.id, (self._dispatch, outcome), context=life.context)

    def _tell_failure(self, error: ParadeError) -> None:
        self._tell(lambda: self._listener.failed(error), None)

    def _tell(self, told: Callable[[], None], output: Document | None) -> None:
        """Tells the last word, once the process comes to it."""
        chance, life = self._mesh.chance, self.caller.life

        def tell() -> None:
            if self._over or life.dead or self.caller.left:
                return
            self._over = self.told = True
            told()
            if output is not None and chance.random() < self._mesh.temper.repeated:
                self.caller.repeat(self._run.id, (self._dispatch, output))

        self._loop.call_soon(tell, context=life.context)

    def _tell_news(self, told: Callable[[], None]) -> None:
        life = self.caller.life

        def tell() -> None:
            if not (self._over or life.dead or self.caller.left):
                told()

        self._loop.call_soon(tell, context=life.context)
