"""Concurrency groups of a scheduler in one piece: who goes on, who waits, who is cancelled, and that a crash changes nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import scheduler_pb2 as pb
from tests.integration.scheduler_harness import World, begin, ended, history, put, running_world
from tests.support.waiting import eventually

ONE_STEP = {"a": {"call": "x.a", "with": {"who": "${{ inputs.who }}"}}}
INPUTS = {"who": {"type": "string"}, "group": {"type": "string", "default": "one"}}
GROUP = {"group": "${{ inputs.group }}"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as running:
        yield running


def called(world: World) -> list[str]:
    return [call.arguments["who"] for call in world.dispatcher.calls]


async def begun(world: World, *names: str) -> None:
    await eventually(lambda: called(world) == list(names))


async def made(world: World, count: int) -> None:
    await eventually(lambda: len(world.dispatcher.calls) == count, within=10)


async def state(stub: Any, run: pb.Run) -> int:
    found: pb.Run = (await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run
    return found.state


async def test_of_a_group_so_many_runs_go_on_as_the_workflow_says_and_the_others_follow_in_order(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE_STEP, inputs=INPUTS, concurrency={**GROUP, "limit": 2})
    runs = [await begin(stub, {"who": name}) for name in "abcd"]

    await eventually(lambda: len(world.dispatcher.calls) == 2)
    assert set(called(world)) == {"a", "b"}
    assert await state(stub, runs[2]) == await state(stub, runs[3]) == pb.RUN_STATE_QUEUED
    world.dispatcher.calls[0].succeed(1)
    await eventually(lambda: len(world.dispatcher.calls) == 3)
    world.dispatcher.calls[1].succeed(1)
    await eventually(lambda: len(world.dispatcher.calls) == 4)
    for call in world.dispatcher.calls[2:]:
        call.succeed(1)

    assert called(world)[2:] == ["c", "d"]
    for run in runs:
        assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED
    types = [pb.RunEventType.Name(event.type).removeprefix("RUN_EVENT_TYPE_") for event in await history(stub, runs[3].id)]
    assert types[:2] == ["RUN_QUEUED", "RUN_STARTED"]


async def test_groups_do_not_hold_each_other_up(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE_STEP, inputs=INPUTS, concurrency=GROUP)

    await begin(stub, {"who": "a", "group": "one"})
    await begin(stub, {"who": "b", "group": "two"})

    await eventually(lambda: sorted(called(world)) == ["a", "b"])


@pytest.mark.parametrize("between", [{}, {"concurrency": {"group": "other"}}, {"concurrency": {"group": "one"}}])
async def test_a_run_that_a_run_of_its_group_starts_at_whatever_remove_has_part_in_its_place(world: World, between: dict[str, Any]) -> None:
    stub = world.stub()
    await put(stub, ONE_STEP, name="inner", inputs=INPUTS, concurrency=GROUP)
    await put(stub, {"in": {"run": "inner", "with": {"who": "a"}}}, name="between", **between)
    await put(stub, {"in": {"run": "between"}}, name="outer", concurrency={"group": "one"})

    outer = (await stub.StartRun(pb.StartRunRequest(workflow="outer"))).run
    await begun(world, "a")
    world.dispatcher.calls[0].succeed(1)

    assert (await ended(stub, outer.id)).state == pb.RUN_STATE_SUCCEEDED


async def test_the_highest_priority_goes_first_of_those_who_wait(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE_STEP, inputs=INPUTS, concurrency=GROUP)
    await begin(stub, {"who": "first"})
    await begun(world, "first")
    await begin(stub, {"who": "low"}, priority=-5)
    await begin(stub, {"who": "high"}, priority=5)

    world.dispatcher.calls[0].succeed(1)

    await begun(world, "first", "high")


async def test_a_newer_run_cancels_the_one_that_goes_on_where_the_workflow_says_so(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE_STEP, inputs=INPUTS, concurrency={**GROUP, "cancel-in-progress": True})
    older = await begin(stub, {"who": "older"})
    await begun(world, "older")

    newer = await begin(stub, {"who": "newer"})

    assert (await ended(stub, older.id)).state == pb.RUN_STATE_CANCELLED
    await begun(world, "older", "newer")
    world.dispatcher.calls[1].succeed(1)
    assert (await ended(stub, newer.id)).state == pb.RUN_STATE_SUCCEEDED


async def test_a_run_that_is_cancelled_while_it_waits_leaves_its_place_to_the_next(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE_STEP, inputs=INPUTS, concurrency=GROUP)
    await begin(stub, {"who": "first"})
    await begun(world, "first")
    waiting = await begin(stub, {"who": "waiting"})
    await begin(stub, {"who": "last"})

    cancelled = (await stub.CancelRun(pb.CancelRunRequest(run_id=waiting.id))).run
    world.dispatcher.calls[0].succeed(1)

    assert cancelled.state == pb.RUN_STATE_CANCELLED
    await begun(world, "first", "last")


async def test_order_and_count_are_kept_over_crashes(world: World) -> None:
    await world.stop()
    await world.start_process()
    stub = world.stub()
    await put(stub, ONE_STEP, inputs=INPUTS, concurrency={**GROUP, "limit": 2})
    names = [f"r{number:02}" for number in range(12)]
    runs = [await begin(stub, {"who": name}) for name in names]
    going: dict[str, Any] = {}

    for _ in range(4):
        await eventually(lambda: len({call.run_id for call in world.dispatcher.calls}) - len(going) == 2, within=10)
        await world.kill()
        await asyncio.sleep(0.1)
        before = len(world.dispatcher.calls)
        await world.start_process()
        # Exactly the two that had begun are called again.
        await made(world, before + 2)
        again = world.dispatcher.calls[before:]
        for call in again:
            going[call.run_id] = call
            call.succeed(1)
        stub = world.stub()

    await eventually(lambda: len({call.run_id for call in world.dispatcher.calls}) == 10, within=10)
    order = list(dict.fromkeys(called(world)))
    assert [set(order[place : place + 2]) for place in range(0, 8, 2)] == [set(names[place : place + 2]) for place in range(0, 8, 2)]
    assert len({run.id for run in runs}) == 12
