"""Schedulers that share the work over one PostgreSQL: any answers, one that dies or freezes is replaced, and none writes for another."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from tests.integration.scheduler_harness import World, begin, ended, history, put, running_world
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

CHAIN = {"a": {"call": "x.a"}, "b": {"call": "x.b", "needs": "a"}}
TAKEOVER = 10.0
"""Seconds within which a replica's runs are led by others."""


class Replicas:
    """Three schedulers, each a process, and the database that they share."""

    def __init__(self, worlds: list[World], database: Any) -> None:
        self.worlds = worlds
        self.dispatcher = worlds[0].dispatcher
        self._database = database

    async def held(self) -> list[int]:
        """Returns how many shards each owner that lives has."""
        rows = await self._database.fetch(
            "SELECT count(*) AS held FROM shard JOIN replica ON replica.id = shard.owner"
            " WHERE replica.expires > extract(epoch FROM clock_timestamp()) * 1000000 GROUP BY owner"
        )
        return sorted(row["held"] for row in rows)

    async def shared_out(self, count: int, within: float = 20) -> None:
        """Waits until the shards lie evenly with so many replicas."""
        least = 64 // count

        async def even() -> bool:
            held = await self.held()
            return len(held) == count and sum(held) == 64 and held[0] >= least - 2

        await eventually(even, within=within)

    def freeze(self, number: int) -> None:
        """Stops a replica as a frozen machine does."""
        os.kill(self.worlds[number].pid, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Lets it go on."""
        os.kill(self.worlds[number].pid, signal.SIGCONT)


@asynccontextmanager
async def replicas(folder: Path, server: PostgresServer, **settings: Any) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.database())
        first = await stack.enter_async_context(running_world(folder, database_url=url, **settings))
        await first.stop()
        worlds = [first, first.replica(), first.replica()]
        for world in worlds[1:]:
            stack.push_async_callback(world.close)
        await asyncio.gather(*(world.start_process() for world in worlds))
        database = await asyncpg.connect(url)
        stack.push_async_callback(database.close)
        running = Replicas(worlds, database)
        await running.shared_out(3, within=60)  # how soon three processes are up is the machine's matter
        yield running


@pytest.fixture
async def three(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Replicas]:
    async with replicas(tmp_path, postgres_server) as three:
        yield three


async def begun(three: Replicas, count: int) -> list[str]:
    """Starts runs at every replica in turn, whose first step has ended and whose second is under way."""
    stubs = [world.stub() for world in three.worlds]
    await put(stubs[0], CHAIN)
    await asyncio.sleep(1.1)  # as long as another replica may take an older list of workflows for the newest
    ids = [(await begin(stubs[number % 3])).id for number in range(count)]
    await eventually(lambda: sum(call.step == "a" for call in three.dispatcher.calls) == count)
    for call in list(three.dispatcher.calls):
        call.succeed("a")
    await eventually(lambda: sum(call.step == "b" for call in three.dispatcher.calls) == count)
    return ids


async def test_runs_of_all_replicas_are_told_and_cancelled_through_any(three: Replicas) -> None:
    ids = await begun(three, 9)
    stub = three.worlds[1].stub()

    for id in ids:
        assert (await stub.GetRun(pb.GetRunRequest(run_id=id))).run.state == pb.RUN_STATE_RUNNING
        await stub.CancelRun(pb.CancelRunRequest(run_id=id, reason="enough"))

    assert {(await ended(stub, id)).state for id in ids} == {pb.RUN_STATE_CANCELLED}
    for id in ids:
        assert [event.message for event in await history(stub, id) if event.message] == ["enough"]


async def test_the_same_request_at_every_replica_starts_one_run(three: Replicas) -> None:
    stubs = [world.stub() for world in three.worlds]
    await put(stubs[0], {"a": {"call": "x.a"}})
    await asyncio.sleep(1.1)

    runs = await asyncio.gather(*(begin(stubs[number % 3], request_id="order-7") for number in range(12)))

    assert len({run.id for run in runs}) == 1
    await three.dispatcher.call("a")
    assert len(three.dispatcher.calls) == 1


async def test_runs_of_a_replica_that_is_killed_are_led_by_the_others(three: Replicas) -> None:
    ids = await begun(three, 12)

    await three.worlds[2].kill()
    await eventually(lambda: sum(call.ended for call in three.dispatcher.calls if call.step == "b") > 0)
    three.dispatcher.auto = lambda call: call.succeed("again")
    for call in list(three.dispatcher.calls):
        call.succeed("b")

    stub = three.worlds[0].stub()
    done = [await ended(stub, id, within=TAKEOVER) for id in ids]
    assert {run.state for run in done} == {pb.RUN_STATE_SUCCEEDED}
    for id in ids:
        kinds = [event.type for event in await history(stub, id)]
        assert kinds.count(pb.RUN_EVENT_TYPE_TASK_SUCCEEDED) == 2
        assert kinds.count(pb.RUN_EVENT_TYPE_RUN_SUCCEEDED) == 1


async def test_a_replica_that_was_frozen_writes_nothing_when_it_wakes(three: Replicas) -> None:
    ids = await begun(three, 12)
    three.freeze(2)
    await three.shared_out(2)
    # What the frozen one handed out is answered now: it hears of that when it wakes, and others lead those runs by then.
    waiting = [call for call in three.dispatcher.calls if call.step == "b" and not call.ended]
    for call in waiting:
        call.succeed("b")
    three.dispatcher.auto = lambda call: call.succeed("again")
    for call in [call for call in three.dispatcher.calls if not call.ended]:
        call.succeed("again")
    stub = three.worlds[0].stub()
    done = [await ended(stub, id, within=TAKEOVER) for id in ids]

    three.thaw(2)
    await three.shared_out(3)

    assert {run.state for run in done} == {pb.RUN_STATE_SUCCEEDED}
    woken = three.worlds[2].stub()
    for run in done:
        assert (await woken.GetRun(pb.GetRunRequest(run_id=run.id))).run == run
        kinds = [event.type for event in await history(woken, run.id)]
        assert kinds.count(pb.RUN_EVENT_TYPE_TASK_SUCCEEDED) == 2
    assert (await ended(woken, (await begin(woken)).id)).state == pb.RUN_STATE_SUCCEEDED


async def test_a_replica_that_ends_hands_its_runs_over_at_once(three: Replicas) -> None:
    stub = three.worlds[0].stub()
    await put(stub, {"a": {"call": "x.a", "retry": {"attempts": 5, "delay": "1s"}}})
    three.dispatcher.auto = lambda call: call.succeed(1)

    assert await three.worlds[2].terminate() == 0
    assert sum(await three.held()) < 64 or len(await three.held()) == 2
    await three.shared_out(2)

    runs = [await begin(three.worlds[number % 2].stub()) for number in range(6)]
    assert {(await ended(stub, run.id)).state for run in runs} == {pb.RUN_STATE_SUCCEEDED}


async def test_an_answer_reaches_who_waits_at_another_replica(three: Replicas) -> None:
    [id] = await begun(three, 1)
    waiting = [asyncio.create_task(ended(world.stub(), id)) for world in three.worlds]
    watching = [asyncio.create_task(history(world.stub(), id)) for world in three.worlds]
    await asyncio.sleep(0.3)

    (await three.dispatcher.call("b")).succeed({"x": 1})

    for run in await asyncio.gather(*waiting):
        assert orjson.loads(run.steps[1].output.data) == {"x": 1}
    assert len({len(events) for events in await asyncio.gather(*watching)}) == 1
