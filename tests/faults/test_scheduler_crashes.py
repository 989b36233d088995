"""The scheduler dies at each of its crash points, again and again, under use: every acknowledged run ends, no outcome counts twice."""

import asyncio
import random
from pathlib import Path

import pytest

from parade_scheduler.crash_points import CRASH_POINTS
from tests.faults.scheduler_load import Load, answering
from tests.integration.scheduler_harness import World, running_world
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

OF_SHARES = frozenset({"on_claim", "on_handover"})
"""Those that only replicas which share a database come to."""
PEOPLE = 4


class Crashing:
    """A scheduler that dies at a crash point as often as it is to, and is started again each time."""

    def __init__(self, world: World, point: str, times: int, log: Path) -> None:
        self._world = world
        self._point = point
        self._times = times
        self._log = log
        self._random = random.Random(point)  # noqa: S311  # the same test every time

    @property
    def crashes(self) -> int:
        """How often it has died there: the fault must be seen to have come, or the test is void."""
        return len(self._log.read_text().split()) if self._log.exists() else 0

    async def live(self) -> None:
        """Starts it, and starts it again whenever it has died, until it has died often enough."""
        while self.crashes < self._times:
            # Beyond what is handed out again at the start, on the whole: who died before anything new would never get on.
            count = self._random.randint(1, 40)
            environment = {"PARADE_CRASH_AT": f"{self._point}:{count}", "PARADE_CRASH_LOG": str(self._log)}
            before = self.crashes
            await self._world.start_process(**environment)
            await self._world.died()
            assert self.crashes == before + 1, self._world.words()
        await self._world.start_process()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize("point", sorted(CRASH_POINTS - OF_SHARES))
async def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, point: str, times: int) -> None:
    async with running_world(tmp_path) as world:
        await world.stop()
        answering(world.dispatcher)
        crashing = Crashing(world, point, times, tmp_path / "crashes")
        stub = world.stub()
        load = Load(lambda: stub)
        living = asyncio.create_task(crashing.live())
        await load.put()
        await asyncio.gather(*(load.go_on(f"person-{number}", living.done) for number in range(PEOPLE)))
        await living

        await load.check()

    assert crashing.crashes == times
    assert load.done


def all_taken(worlds: list[World]) -> int:
    """Returns how often one of some replicas has said that it has all shards."""
    return sum(world.words().count('"held":64') for world in worlds)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize("point", sorted(OF_SHARES))
async def test_replicas_that_die_while_they_share_out_lose_nothing(
    tmp_path: Path, postgres_server: PostgresServer, point: str, times: int
) -> None:
    log = tmp_path / "crashes"
    environment = {"PARADE_CRASH_AT": f"{point}:1", "PARADE_CRASH_LOG": str(log)}
    async with postgres_server.database() as url, running_world(tmp_path, database_url=url) as one:
        await one.stop()
        answering(one.dispatcher)
        other = one.replica()
        one.stack.push_async_callback(other.close)
        stubs = [one.stub(), other.stub()]
        load = Load(lambda: random.choice(stubs))  # noqa: S311
        await one.start_process(**({} if point == "on_claim" else environment))

        async def crashing() -> None:
            stays, comes = one, other
            for number in range(1, times + 1):
                if point == "on_handover":
                    # Only who has taken over everything has something to hand over.
                    await eventually(lambda number=number: all_taken([one, other]) >= number, within=30)  # type: ignore[misc]
                await comes.start_process(**environment)
                # Who takes over dies as the newcomer, who hands over dies of the newcomer, which stays in its place.
                await (comes if point == "on_claim" else stays).died()
                assert len(log.read_text().split()) == number
                if point == "on_handover":
                    stays, comes = comes, stays

        living = asyncio.create_task(crashing())
        await load.put()
        await asyncio.gather(*(load.go_on(f"person-{number}", living.done) for number in range(PEOPLE)))
        await living
        await load.check()
        assert load.done
