"""One seed is one schedule: which workflows there are, who asks for what, what goes wrong, and what comes when. The rest is real."""

import asyncio
import random
import traceback
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from parade_scheduler.definitions.durables import definition_of
from parade_scheduler.document import Document
from parade_scheduler.language import Definition
from parade_scheduler.model import RUN_ENDED
from tests.simulation import durables
from tests.simulation.clients import Clients
from tests.simulation.database import Server, SimulatedDatabase
from tests.simulation.invariants import faults_of
from tests.simulation.mesh import Mesh
from tests.simulation.replica import Replica
from tests.simulation.seeded import read_once, seeded
from tests.simulation.store import SimulatedStore
from tests.simulation.time import Life, SimulatedLoop
from tests.simulation.weather import Trouble
from tests.simulation.workflows import workflow

LONGEST: Final = 200.0
"""Seconds after the last fault within which every run must have ended."""
LAST_LOOK: Final = 3.0
"""Seconds after the last run's end within which every process has heard of all that concerns it."""
_UNFINISHED: Final = f"SELECT id, state FROM run WHERE state NOT IN ({', '.join(repr(state.value) for state in RUN_ENDED)}) ORDER BY id"  # noqa: S608


@dataclass
class Report:
    """What became of a schedule."""

    seed: int
    faults: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    runs: int = 0
    entries: int = 0
    commits: int = 0
    seconds: float = 0.0
    digest: int = 0
    """The same whenever the same happened."""
    told: int = 0
    """How many faults were told of."""


def simulate(seed: int) -> Report:
    """Runs the schedule of a seed."""
    chance = random.Random(seed)  # noqa: S311  # the same for the same seed, that is the point
    report = Report(seed)
    with seeded(chance), asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: report.faults.append(f"nobody heard of: {context}"))
        world = _World(chance, report)
        try:
            runner.run(world.run())
        except Exception as error:  # noqa: BLE001  # the seed is to be told with it
            report.faults.append("".join(traceback.format_exception(error)))
        finally:
            world.release()
    return report


class _World:
    def __init__(self, chance: random.Random, report: Report) -> None:
        self.chance = chance
        self.report = report
        self.replicas: list[Replica] = []

    async def run(self) -> None:
        chance, report = self.chance, self.report
        shared = chance.random() < 0.6
        self.server = Server(chance, shared=shared)
        self.mesh = Mesh(chance)
        count = chance.randint(2, 3) if shared else 1
        self.replicas = [Replica(number, self.server, self.mesh, chance, report.faults) for number in range(1, count + 1)]
        self.clients = Clients(self.replicas, chance)
        self.trouble = Trouble(self.replicas, self.server, self.mesh, chance)
        names = [f"flow-{number}" for number in range(chance.randint(1, 3))]
        self.definitions: dict[str, Definition] = {durables.NAME: definition_of(durables.NAME)}
        sources = []
        for number, name in enumerate(names):
            source = orjson.dumps(workflow(chance, name, names[:number])).decode()
            sources.append(source)
            definition = self.definitions[name] = read_once(source)
            if definition.concurrency is not None:
                self.server.limits[name] = definition.concurrency.limit
        for replica in self.replicas:
            replica.start()
        await self.clients.put(sources)
        seconds = chance.choice((2.0, 4.0, 10.0))
        trouble = asyncio.create_task(self.trouble.make(seconds))
        asking = asyncio.create_task(self.ask(names, seconds))
        await asyncio.wait([trouble, asking], return_when=asyncio.ALL_COMPLETED, timeout=LONGEST)
        for task in (trouble, asking):
            if not task.done():
                report.faults.append("a client gets no answer, or a process does not end")
                task.cancel()
            elif task.exception() is not None:
                task.result()
        await self.end()
        await asyncio.sleep(LAST_LOOK)
        await self.judge()

    async def ask(self, names: list[str], seconds: float) -> None:
        """Lets clients ask for this and that."""
        chance, clients = self.chance, self.clients
        runs: list[str] = []
        asking: set[asyncio.Task[None]] = set()

        async def start() -> None:
            begin = clients.start_twice if chance.random() < 0.2 else clients.start
            name = chance.choice((*names, durables.NAME))
            inputs = {"program": durables.program(chance, names)} if name == durables.NAME else {}
            runs.append(await begin(name, Document.of(inputs)))

        for _ in range(chance.randint(3, 14)):
            await asyncio.sleep(chance.expovariate(8 / seconds))
            kind = chance.choice(("start", "start", "start", "cancel", "pause", "resume", "signal", "publish", "wait"))
            if kind == "start" or not runs:
                doing: Any = start()
            elif kind == "publish":
                doing = clients.publish()
            else:
                doing = getattr(clients, kind)(chance.choice(runs))
            asking.add(asyncio.create_task(clients.trying(doing)))
        await asyncio.gather(*asking)

    async def end(self) -> None:
        """Gives every run what it waits for, until all have ended."""
        clients, loop = self.clients, asyncio.get_running_loop()
        deadline = loop.time() + LONGEST
        while unfinished := self.server.rows(_UNFINISHED):
            if loop.time() > deadline - LONGEST / 2:
                # What began by a clock that was an hour ahead waits by it.
                for replica in self.replicas:
                    replica.set_clock(3700.0)
            if loop.time() > deadline:
                self.report.faults += [f"{run} does not end, it is {state}" for run, state in unfinished]
                return
            for run, state in unfinished:
                if state == "PAUSED":
                    await clients.trying(clients.resume(run))
            for run, step, task in self.server.rows("SELECT run, step, task FROM approval WHERE state = 'PENDING' ORDER BY 1, 2, 3"):
                await clients.trying(clients.resolve(run, step, task, approved=self.chance.random() < 0.8))
            for run, state in unfinished:
                if state == "RUNNING":
                    await clients.trying(clients.signal(run))
            await clients.publish()
            await asyncio.sleep(2.0)

    def release(self) -> None:
        """Thaws the dead too, so that they can be cleared away."""
        for replica in self.replicas:
            for life in replica.lives:
                life.thaw()

    async def judge(self) -> None:
        report = self.report
        store = SimulatedStore(SimulatedDatabase(self.server, Life("judge")))
        runs = [run for (run,) in self.server.rows("SELECT id FROM run ORDER BY id")]
        report.faults += self.server.faults + self.mesh.faults + self.mesh.instances.faults
        for replica in self.replicas:
            report.faults += replica.left_over()
        report.faults += await faults_of(store, runs, self.definitions, self.mesh, self.clients.promises)
        report.troubles = self.trouble.seen
        report.runs, report.commits = len(runs), self.server.writes
        report.seconds = asyncio.get_running_loop().time() - 1000
        rows = self.server.rows("SELECT run, number, facts FROM entry ORDER BY run, number")
        report.entries = len(rows)
        report.digest = hash(str(rows))
