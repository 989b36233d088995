"""What goes wrong in a schedule, and when."""

import asyncio
import random
from collections.abc import Sequence

from tests.simulation.database import Server, Weather
from tests.simulation.mesh import Mesh, Temper
from tests.simulation.replica import Replica


class Trouble:
    """Makes trouble until it is ended."""

    def __init__(self, replicas: Sequence[Replica], server: Server, mesh: Mesh, chance: random.Random) -> None:
        """Takes whom it troubles."""
        self._replicas = replicas
        self._server = server
        self._mesh = mesh
        self._chance = chance
        self._level = chance.choice((0.0, 0.3, 1.0))
        self._kinds = chance.sample(("kill", "kill", "freeze", "cut", "clock", "stop", "storm", "full", "mesh"), chance.randint(1, 5))
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen: list[str] = []

    async def make(self, seconds: float) -> None:
        """Makes trouble for some time, then ends all that is going on."""
        chance, loop = self._chance, asyncio.get_running_loop()
        self._mesh.temper = self._temper(self._level)
        end = loop.time() + seconds
        while loop.time() < end:
            self._blow(self._level)
            await asyncio.sleep(min(max(0.0, end - loop.time()), chance.expovariate(0.6)))
            kind = chance.choice(self._kinds)
            self.seen.append(kind)
            task = loop.create_task(self._one(kind, chance.choice(self._replicas)))
            self._tasks.add(task)
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._server.calm_since = loop.time()
        self._mesh.temper = Temper(error=0.05)
        for replica in self._replicas:
            replica.set_clock(0.0)
            if replica.database is not None:
                replica.database.weather, replica.database.cut = Weather(), False
            if replica.life is None or replica.life.dead:
                replica.start()

    def _blow(self, level: float) -> None:
        chance = self._chance
        for replica in self._replicas:
            if replica.database is not None and not replica.database.weather.full:
                replica.database.weather = Weather(
                    refused=level * chance.choice((0, 0, 0.02, 0.1)),
                    unanswered=level * chance.choice((0, 0, 0.02, 0.1)),
                    slow=level * chance.choice((0, 0.02, 0.05)),
                )

    def _temper(self, level: float) -> Temper:
        def some(least: float, most: float) -> float:
            return self._chance.choice((0.0, least, level * most))

        return Temper(
            some(0, 0.1), some(0, 0.1), some(0.02, 0.1), some(0.05, 0.3), some(0.05, 0.3), some(0.02, 0.1), self._chance.choice((0.0, 0.2))
        )

    async def _one(self, kind: str, replica: Replica) -> None:
        chance, life, database = self._chance, replica.life, replica.database
        if life is None or life.dead or database is None or life.halted:
            return
        match kind:
            case "kill":
                replica.kill()
                await asyncio.sleep(chance.choice((0.0, 0.1, 3.0)))
                replica.start()
            case "freeze":
                life.halt()
                await asyncio.sleep(chance.choice((0.3, 3.0, 9.0)))
                if not life.dead:
                    life.thaw()
            case "cut":
                database.cut = True
                await asyncio.sleep(chance.choice((0.3, 3.0, 9.0)))
                database.cut = False
            case "clock":
                replica.set_clock(chance.choice((-3600.0, -5.0, 0.0, 5.0, 3600.0)))
            case "stop" if replica.serves:
                if await replica.stop():
                    await asyncio.sleep(chance.uniform(0, 1))
                    replica.start()
            case "storm":
                database.weather = Weather(refused=0.5, unanswered=0.3, slow=0.1)
                await asyncio.sleep(chance.uniform(0.1, 1))
            case "full":
                database.weather = Weather(full=True)
                await asyncio.sleep(chance.uniform(0.1, 3))
                database.weather = Weather()
            case "mesh":
                self._mesh.temper = Temper(outage=0.9, lost=0.3)
                await asyncio.sleep(chance.uniform(0.1, 3))
                self._mesh.temper = self._temper(self._level)
