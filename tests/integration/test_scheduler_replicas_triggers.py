"""Groups, events and schedules with three schedulers over one PostgreSQL: they hold across all, and when one of them is killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import schedule_pb2
from parade.v1 import scheduler_pb2 as pb
from tests.integration.scheduler_harness import Call, begin, ended, json, put
from tests.integration.test_scheduler_replicas import TAKEOVER, Replicas, replicas
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def three(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Replicas]:
    async with replicas(tmp_path, postgres_server) as running:
        yield running


async def test_a_group_spans_all_replicas_and_outlives_one(three: Replicas) -> None:
    stubs = [world.stub() for world in three.worlds]
    await put(stubs[0], {"a": {"call": "x.a"}}, concurrency={"group": "g", "limit": 3})
    await asyncio.sleep(1.1)  # as long as another replica may not know the workflow's newest version
    most = 0
    answering: set[asyncio.Task[None]] = set()

    async def answer(call: Call) -> None:
        nonlocal most
        most = max(most, len({other.run_id for other in three.dispatcher.calls if not other.ended}))
        await asyncio.sleep(0.1)
        call.succeed(1)

    def take(call: Call) -> None:
        answering.add(asyncio.create_task(answer(call)))

    three.dispatcher.auto = take
    # Every replica begins some of the runs, each in shards of its own.
    runs = [await begin(stubs[number % 3]) for number in range(30)]

    await eventually(lambda: len(three.dispatcher.calls) >= 9)
    await three.worlds[2].kill()

    for run in runs:
        assert (await ended(stubs[0], run.id, within=3 * TAKEOVER)).state == pb.RUN_STATE_SUCCEEDED
    assert most == 3
    await asyncio.gather(*answering)


async def test_an_event_reaches_runs_of_every_replica_and_begins_one_run(three: Replicas) -> None:
    stubs = [world.stub() for world in three.worlds]
    await put(stubs[0], {"paid": {"wait": {"event": "order.paid"}}})
    waiting = [await begin(stubs[number % 3]) for number in range(9)]
    source = '{"name": "follow", "on": {"event": {"type": "order.paid"}}, "steps": {"a": {"call": "x.a"}}}'
    await stubs[1].PutWorkflow(pb.PutWorkflowRequest(source=source))

    async def all_wait() -> bool:
        found = [(await stubs[0].GetRun(pb.GetRunRequest(run_id=run.id))).run for run in waiting]
        return all(step.state == pb.STEP_STATE_RUNNING for run in found for step in run.steps)

    await eventually(all_wait)
    await asyncio.gather(*(stub.PublishEvent(pb.PublishEventRequest(type="order.paid", value=json(1), event_id="e")) for stub in stubs))

    for run in waiting:
        assert (await ended(stubs[0], run.id)).state == pb.RUN_STATE_SUCCEEDED
    await three.dispatcher.call("a")
    found = await stubs[0].ListRuns(pb.ListRunsRequest(workflow="follow"))
    assert len(found.runs) == 1


async def test_a_schedule_starts_one_run_however_many_replicas_there_are(three: Replicas) -> None:
    stub = three.worlds[0].stub()
    await put(stub, {"a": {"call": "x.a"}})
    names = [f"s-{number}" for number in range(20)]
    for name in names:
        schedule = schedule_pb2.Schedule(name=name, workflow="flow", cron="0 0 1 1 *")
        await stub.PutSchedule(pb.PutScheduleRequest(schedule=schedule))
    await three._database.execute("UPDATE schedule SET next_time = 1767225600000000")  # the first of January 2026

    async def started() -> list[str]:
        found: Any = await stub.ListRuns(pb.ListRunsRequest(workflow="flow", page_size=1000))
        return sorted(run.labels["schedule"] for run in found.runs)

    async def all_started() -> bool:
        return await started() == sorted(names)

    await eventually(all_started, within=TAKEOVER)
    await asyncio.sleep(1.5)  # every replica has looked again by then
    assert await started() == sorted(names)
