"""Those who ask schedulers for something in a schedule, ask again where they got no answer, and remember what they were promised."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.approval import Resolution
from parade_scheduler.document import Document
from parade_scheduler.engine import Engine
from parade_scheduler.leading.happenings import Whole
from parade_scheduler.model import RunState
from parade_scheduler.operations import Signal
from parade_scheduler.starts.start import Caller, Start
from tests.simulation.replica import GoneError, Replica
from tests.simulation.workflows import EVENTS, SIGNALS

ANA: Final = Caller("default", "spiffe://parade.local/ns/default/user/ana")
_AGAIN: Final = frozenset({Reason.UNAVAILABLE, Reason.NO_CAPACITY})
ResultT = TypeVar("ResultT")


@dataclass
class Promises:
    """What was acknowledged."""

    starts: dict[str, str] = field(default_factory=dict)
    """The runs by their requests."""
    signals: set[tuple[str, str, Any]] = field(default_factory=set)
    """Run, name and value."""
    cancels: set[str] = field(default_factory=set)
    resolutions: dict[tuple[str, str, int], bool] = field(default_factory=dict)
    """Whether it was approved, by run, step and task."""
    ends: dict[str, RunState] = field(default_factory=dict)
    """How runs were said to have ended."""
    faults: list[str] = field(default_factory=list)


class Clients:
    """All that ask."""

    def __init__(self, replicas: Sequence[Replica], chance: random.Random) -> None:
        """Takes whom they ask."""
        self.promises = Promises()
        self._replicas = replicas
        self._chance = chance
        self._count = 0

    async def put(self, sources: Sequence[str]) -> None:
        """Stores workflows."""
        for source in sources:
            await self._put(source)

    async def _put(self, source: str) -> None:
        await self._asked(lambda replica: _engine(replica).put_workflow(ANA, source, allow_unregistered=True))

    async def start(self, workflow: str, inputs: Document) -> str:
        """Starts a run and returns its id."""
        self._count += 1
        request = f"request-{self._count}"
        start = Start(workflow, 0, inputs, request, {"team": "blue"})
        run, _ = await self._asked(lambda replica: _engine(replica).start_run(ANA, start))
        known = self.promises.starts.setdefault(request, run.id)
        if known != run.id:
            self.promises.faults.append(f"{request} started {known} and {run.id}")
        return run.id

    async def start_twice(self, workflow: str, inputs: Document) -> str:
        """Starts a run by two clients that send the same request at the same time."""
        self._count += 1
        start = Start(workflow, 0, inputs, f"request-{self._count}", {})
        found = await asyncio.gather(*(self._asked(lambda replica: _engine(replica).start_run(ANA, start)) for _ in range(2)))
        if found[0][0].id != found[1][0].id:
            self.promises.faults.append(f"{start.request_id} started {found[0][0].id} and {found[1][0].id}")
        self.promises.starts[start.request_id] = found[0][0].id
        return found[0][0].id

    async def wait(self, run: str) -> None:
        """Waits for the end of a run for a while."""
        whole: Whole = await self._asked(lambda replica: _engine(replica).wait_run(ANA, run, 5.0))
        if whole[0].ended:
            before = self.promises.ends.setdefault(run, whole[0].state)
            if before is not whole[0].state:
                self.promises.faults.append(f"{run} ended {before} and {whole[0].state}")

    async def cancel(self, run: str) -> None:
        """Cancels a run."""
        await self._asked(lambda replica: _engine(replica).cancel_run(ANA, run, "a client wants it"))
        self.promises.cancels.add(run)

    async def pause(self, run: str) -> None:
        """Pauses a run."""
        await self._asked(lambda replica: replica.operations.pause(ANA, run, "lunch"))

    async def resume(self, run: str) -> None:
        """Lets a run go on."""
        await self._asked(lambda replica: replica.operations.resume(ANA, run))

    async def signal(self, run: str) -> None:
        """Sends a run a signal."""
        self._count += 1
        name = self._chance.choice(SIGNALS)
        signal = Signal(name, Document.of(self._count), f"signal-{self._count}")
        await self._asked(lambda replica: replica.operations.signal(ANA, run, signal))
        self.promises.signals.add((run, name, signal.value.value))

    async def publish(self) -> None:
        """Publishes an event."""
        self._count += 1
        type, id = self._chance.choice(EVENTS), f"event-{self._count}"
        await self._asked(lambda replica: replica.events.publish(ANA, type, Document.of(self._count), id))

    async def resolve(self, run: str, step: str, task: int, *, approved: bool) -> None:
        """Approves or rejects."""
        resolution = Resolution(run, step, task, approved, "as agreed")
        await self._asked(lambda replica: replica.operations.resolve(ANA, resolution))
        self.promises.resolutions[run, step, task] = approved

    async def trying(self, doing: Awaitable[Any]) -> None:
        """Does something that the run's state may forbid."""
        try:
            await doing
        except ParadeError as error:
            if error.reason not in (Reason.FAILED_PRECONDITION, Reason.NOT_FOUND):
                self.promises.faults.append(f"a client is told: {error.reason} {error.message}")

    async def _asked(self, question: Callable[[Replica], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Asks any replica that serves, again and again until one answers."""
        while True:
            serving = [replica for replica in self._replicas if replica.serves]
            if serving:
                try:
                    replica = self._chance.choice(serving)
                    return await replica.ask(question(replica))
                except GoneError:
                    pass
                except ParadeError as error:
                    if error.reason not in _AGAIN:
                        raise
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))


def _engine(replica: Replica) -> Engine:
    assert replica.engine is not None
    return replica.engine
