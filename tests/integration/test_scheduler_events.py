"""Published events of a scheduler in one piece: who waits for them goes on, what begins on them is started, and nothing happens twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.integration.scheduler_harness import World, begin, ended, json, put, running_world
from tests.support.waiting import eventually

WAITS = {"paid": {"wait": {"event": {"type": "order.paid", "if": "event.order == inputs.order"}}}}
INPUTS = {"order": {"type": "integer"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path, max_event_bytes=2048) as running:
        yield running


async def publish(stub: Any, type: str, value: Any, event_id: str = "") -> str:
    request = pb.PublishEventRequest(type=type, value=json(value), event_id=event_id)
    response: pb.PublishEventResponse = await stub.PublishEvent(request)
    return response.event_id


async def waiting(stub: Any, run: pb.Run, step: str = "paid") -> None:
    async def waits() -> bool:
        steps = (await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run.steps
        return any(one.id == step and one.state == pb.STEP_STATE_RUNNING for one in steps)

    await eventually(waits)


def count(world: World, rows: str) -> int:
    """Counts rows in the scheduler's database."""
    with closing(sqlite3.connect(world.settings["database_url"].removeprefix("sqlite:///"))) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])  # noqa: S608  # the test's own words


async def of_flow(stub: Any, name: str = "flow") -> list[pb.Run]:
    return list((await stub.ListRuns(pb.ListRunsRequest(workflow=name))).runs)


async def test_a_step_that_waits_for_an_event_takes_the_one_that_its_condition_wants(world: World) -> None:
    stub = world.stub()
    await put(stub, WAITS, inputs=INPUTS, outputs={"event": "${{ steps.paid.output }}"})
    first, second = await begin(stub, {"order": 1}), await begin(stub, {"order": 2})
    await waiting(stub, first)
    await waiting(stub, second)

    await publish(stub, "order.shipped", {"order": 2})
    await publish(stub, "order.paid", {"order": 2, "amount": 7})

    done = await ended(stub, second.id)
    assert orjson.loads(done.outputs.data) == {"event": {"order": 2, "amount": 7}}
    assert (await stub.GetRun(pb.GetRunRequest(run_id=first.id))).run.state == pb.RUN_STATE_RUNNING


async def test_events_that_no_condition_wants_leave_nothing_behind(world: World) -> None:
    stub = world.stub()
    await put(stub, WAITS, inputs=INPUTS)
    run = await begin(stub, {"order": 1})
    await waiting(stub, run)
    entries = count(world, "entry")

    for number in range(5):
        await publish(stub, "order.paid", {"order": 2 + number})

    await eventually(lambda: count(world, "command") == count(world, "published_event WHERE pending") == 0)
    assert count(world, "entry") == entries
    await publish(stub, "order.paid", {"order": 1})
    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED


async def test_an_event_reaches_every_run_that_waits_for_it(world: World) -> None:
    stub = world.stub()
    await put(stub, {"paid": {"wait": {"event": "order.paid"}}})
    runs = [await begin(stub) for _ in range(20)]
    for run in runs:
        await waiting(stub, run)

    await publish(stub, "order.paid", None)

    for run in runs:
        assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED


async def test_an_event_that_is_published_again_is_not_taken_again(world: World) -> None:
    stub = world.stub()
    turn = {"wait": {"event": "tick"}, "loop": {"until": "index == 2", "limit": 5}}
    await put(stub, {"paid": turn}, outputs={"last": "${{ steps.paid.output }}"})
    run = await begin(stub)
    await waiting(stub, run)

    for _ in range(3):
        assert await publish(stub, "tick", "first", "tick-1") == "tick-1"
    await publish(stub, "tick", "second", "tick-2")
    await asyncio.sleep(0.3)
    assert (await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run.state == pb.RUN_STATE_RUNNING
    await publish(stub, "tick", "third", "tick-3")

    assert orjson.loads((await ended(stub, run.id)).outputs.data) == {"last": "third"}


async def test_an_event_starts_a_run_of_each_workflow_that_begins_on_it_once(world: World) -> None:
    stub = world.stub()
    event = {"type": "order.paid", "if": "event.amount > 5", "with": {"who": "${{ event.customer }}"}}
    await put(stub, {"a": {"call": "x.a", "with": {"who": "${{ inputs.who }}"}}}, on={"event": event}, inputs={"who": {"type": "string"}})

    for _ in range(3):
        await publish(stub, "order.paid", {"amount": 9, "customer": "ada"}, "e-1")
    await publish(stub, "order.paid", {"amount": 1, "customer": "bob"}, "e-2")
    await publish(stub, "order.paid", {"unlike": "the others"}, "e-3")
    await publish(stub, "order.paid", {"amount": 8, "customer": "eve"}, "e-4")

    await eventually(lambda: len(world.dispatcher.calls) == 2)
    assert sorted(call.arguments["who"] for call in world.dispatcher.calls) == ["ada", "eve"]
    runs = await of_flow(stub)
    assert sorted(run.labels["event"] for run in runs) == ["e-1", "e-4"]


async def test_only_the_newest_version_of_a_workflow_begins_on_events(world: World) -> None:
    stub = world.stub()
    step = {"a": {"call": "x.a"}}
    await put(stub, step, on={"event": {"type": "old"}})
    await put(stub, step, on={"event": {"type": "new"}})

    await publish(stub, "old", None)
    await publish(stub, "new", None)

    await eventually(lambda: len(world.dispatcher.calls) == 1)
    [run] = await of_flow(stub)
    assert run.workflow_version == 2


async def test_an_event_that_is_too_large_is_refused(world: World) -> None:
    with pytest.raises(ParadeError, match="2,048") as caught:
        await publish(world.stub(), "big", "x" * 3000)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS


async def test_what_an_event_began_goes_on_after_a_crash_and_nothing_of_it_happens_twice(world: World) -> None:
    await world.stop()
    await world.start_process()
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a"}}, on={"event": {"type": "go"}})
    taken = 0

    for round_number in range(4):
        ids = [f"go-{round_number}-{number}" for number in range(20)]
        publishing = asyncio.gather(*(publish(stub, "go", None, id) for id in ids), return_exceptions=True)
        await asyncio.sleep(0.05 * round_number)
        await world.kill()
        await publishing
        await world.start_process()
        stub = world.stub()
        for id in ids:
            await publish(stub, "go", None, id)
        taken += len(ids)

    async def started() -> bool:
        return len((await stub.ListRuns(pb.ListRunsRequest(workflow="flow", page_size=1000))).runs) == taken

    await eventually(started, within=10)
    runs = list((await stub.ListRuns(pb.ListRunsRequest(workflow="flow", page_size=1000))).runs)
    assert len({run.labels["event"] for run in runs}) == taken
