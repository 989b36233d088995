"""The scheduler is killed every few seconds while people use it, and its database goes away and fills up: nothing acknowledged is lost."""

import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.faults.scheduler_load import Load, answering
from tests.integration.scheduler_harness import World, running_world
from tests.support import postgres
from tests.support.waiting import eventually


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A scheduler in a process of its own."""
    async with running_world(tmp_path) as world:
        await world.stop()
        answering(world.dispatcher)
        await world.start_process()
        yield world


async def used(load: Load, people: int, until: asyncio.Future[None] | asyncio.Task[None], pause: float = 0.0) -> None:
    """Lets people use the scheduler until something is done."""
    await asyncio.gather(*(load.go_on(f"person-{number}", until.done, pause) for number in range(people)))
    await until


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kills", "every", "people"), [(3, 1.5, 6), pytest.param(60, 5.0, 60, marks=pytest.mark.full)], ids=["short", "five minutes"]
)
async def test_nothing_is_lost_however_often_it_is_killed(world: World, kills: int, every: float, people: int) -> None:
    stub = world.stub()
    load = Load(lambda: stub)
    await load.put()

    async def killing() -> None:
        for _ in range(kills):
            await asyncio.sleep(every)
            await world.kill()
            await world.start_process()

    await used(load, people, asyncio.create_task(killing()), pause=1.0 if people > 10 else 0.0)

    await load.check()
    assert len(load.done) > kills


async def test_a_disk_that_takes_no_more_is_said_so_and_nothing_is_acknowledged_that_is_not_stored(world: World) -> None:
    stub = world.stub()
    load = Load(lambda: stub)
    await load.put()
    await load.run("before")
    unlimited = resource.prlimit(world.pid, resource.RLIMIT_FSIZE)

    # No file may be written beyond this, where the database's log is already. The process's own log is shorter.
    resource.prlimit(world.pid, resource.RLIMIT_FSIZE, (32 * 1024, unlimited[1]))
    refusals = 0
    for number in range(5):
        with pytest.raises(ParadeError) as caught:
            await stub.StartRun(pb.StartRunRequest(workflow="flow", request_id=f"meanwhile-{number}"))
        assert caught.value.reason in (Reason.UNAVAILABLE, Reason.NO_CAPACITY)
        refusals += 1
    runs = (await stub.ListRuns(pb.ListRunsRequest())).runs
    resource.prlimit(world.pid, resource.RLIMIT_FSIZE, unlimited)

    assert refusals == 5
    assert [run.id for run in runs] == list(load.done)
    await load.run("after")
    await load.check()
    assert (await world.terminate()) == 0


async def test_what_runs_outlasts_a_database_that_is_restarted(tmp_path: Path) -> None:
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.server() as server:
        async with server.database() as url, running_world(tmp_path, database_url=url) as world:
            await world.stop()
            answering(world.dispatcher)
            await world.start_process()
            stub = world.stub()
            load = Load(lambda: stub)
            await load.put()

            async def restarting() -> None:
                for _ in range(2):
                    enough = len(load.done) + 3
                    await eventually(lambda enough=enough: len(load.done) > enough, within=30)  # type: ignore[misc]
                    await asyncio.to_thread(server.stop)
                    await asyncio.sleep(1)
                    await asyncio.to_thread(server.start)

            await used(load, 4, asyncio.create_task(restarting()))
            done = len(load.done)
            await load.run("after")

            await load.check()
            assert len(load.done) > done
            assert await world.terminate() == 0
