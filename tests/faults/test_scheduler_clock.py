"""The time of day jumps by an hour under runs that go on, wait and sleep: nothing is lost, nor held up for longer than that demands."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import SystemClock
from tests.faults.scheduler_load import answering
from tests.integration.scheduler_harness import World, begin, ended, history, put, running_world

HOUR = 3600.0


class SetClock(SystemClock):
    """The machine's clock, which somebody sets."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


@pytest.fixture
async def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def world(tmp_path: Path, clock: SetClock) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        await world.stop()
        await world.start(clock)
        yield world


async def times(stub: Any, run: str) -> list[datetime]:
    return [event.time.ToDatetime() for event in await history(stub, run)]


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
async def test_retries_and_steps_go_on(world: World, clock: SetClock, jump: float) -> None:
    stub = world.stub()
    await put(
        stub, {"a": {"call": "x.a", "retry": {"attempts": 3, "delay": "500ms"}, "timeout": "30s"}, "b": {"call": "x.b", "needs": "a"}}
    )
    run = await begin(stub)
    call = await world.dispatcher.call("a")

    clock.ahead = jump
    call.fail(ParadeError(Reason.AGENT_ERROR, "no luck", retryable=True))
    second = await world.dispatcher.call("a", 1)
    clock.ahead = 0.0
    second.fail(ParadeError(Reason.AGENT_ERROR, "no luck", retryable=True))
    (await world.dispatcher.call("a", 2)).succeed(1)
    (await world.dispatcher.call("b")).succeed(2)

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED
    told = await times(stub, run.id)
    assert told == sorted(told)


async def test_what_sleeps_wakes_when_the_time_has_jumped_past_it(world: World, clock: SetClock) -> None:
    stub = world.stub()
    await put(stub, {"w": {"wait": {"timer": "50m"}}, "a": {"call": "x.a", "needs": "w"}})
    answering(world.dispatcher)
    runs = [await begin(stub) for _ in range(20)]
    await asyncio.sleep(0.3)
    assert not world.dispatcher.calls

    clock.ahead = HOUR

    assert {(await ended(stub, run.id)).state for run in runs} == {pb.RUN_STATE_SUCCEEDED}


async def test_what_sleeps_sleeps_on_where_the_time_was_set_back(world: World, clock: SetClock) -> None:
    stub = world.stub()
    await put(stub, {"w": {"wait": {"timer": "90s"}}, "a": {"call": "x.a", "needs": "w"}})
    answering(world.dispatcher)
    run = await begin(stub)

    clock.ahead = -HOUR
    await asyncio.sleep(1.5)
    assert not world.dispatcher.calls
    clock.ahead = 91.0

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED


async def test_a_run_that_is_begun_before_the_jump_back_can_still_be_cancelled_and_waited_for(world: World, clock: SetClock) -> None:
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a"}})
    run = await begin(stub)
    await world.dispatcher.call("a")

    clock.ahead = -HOUR
    await stub.CancelRun(pb.CancelRunRequest(run_id=run.id))

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_CANCELLED
    other = await begin(stub)
    await world.dispatcher.call("a", 1)
    assert other.id > run.id
