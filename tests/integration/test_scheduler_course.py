"""Loops, races and compensation over real connections, and what survives the scheduler."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.integration.scheduler_harness import World, begin, ended, history, put, running_world

UNDO = {"call": "x.c", "with": {"of": "${{ output }}"}}
TRIP = {
    "flight": {"call": "x.a", "with": {"what": "flight"}, "compensate": UNDO},
    "hotel": {"call": "x.a", "needs": "flight", "with": {"what": "hotel"}, "compensate": UNDO},
    "pay": {"call": "x.b", "needs": "hotel"},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


async def test_a_loop_takes_turns_until_it_is_done(world: World) -> None:
    stub = world.stub()
    poll = {"call": "x.a", "with": {"last": "${{ output }}"}, "loop": {"until": "output.done", "limit": 5}}
    await put(stub, {"poll": poll}, outputs={"state": "${{ steps.poll.output }}"})
    run = await begin(stub)

    (await world.dispatcher.call("poll", 0)).succeed({"done": False, "at": 1})
    second = await world.dispatcher.call("poll", 1)
    second.succeed({"done": True, "at": 2})

    assert orjson.loads((await ended(stub, run.id)).outputs.data) == {"state": {"done": True, "at": 2}}
    assert second.arguments == {"last": {"done": False, "at": 1}}


async def test_a_race_against_a_timer_cancels_the_call_that_is_too_slow(world: World) -> None:
    stub = world.stub()
    steps = {
        "slow": {"call": "x.a"},
        "late": {"wait": {"timer": "200ms"}},
        "first": {"race": ["slow", "late"]},
        "after": {"call": "x.b", "needs": "first", "with": {"first": "${{ steps.first.output }}"}},
    }
    await put(stub, steps)
    run = await begin(stub)
    slow = await world.dispatcher.call("slow")

    after = await world.dispatcher.call("after")
    after.succeed(None)

    done = await ended(stub, run.id)
    assert after.arguments == {"first": {"step": "late", "output": None}}
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert slow.cancelled
    assert {step.id: step.state for step in done.steps}["slow"] == pb.STEP_STATE_CANCELLED


async def test_what_was_done_is_undone_the_last_first(world: World) -> None:
    stub = world.stub()
    await put(stub, TRIP)
    run = await begin(stub)
    (await world.dispatcher.call("flight")).succeed("ticket")
    (await world.dispatcher.call("hotel")).succeed("room")

    (await world.dispatcher.call("pay")).fail(ParadeError(Reason.INVALID_ARGUMENTS, "no money"))
    hotel = await world.dispatcher.call("hotel.compensate")
    hotel.fail(ParadeError(Reason.UNKNOWN_FUNCTION, "gone"))
    flight = await world.dispatcher.call("flight.compensate")
    flight.succeed(None)

    done = await ended(stub, run.id)
    assert (hotel.arguments, flight.arguments) == ({"of": "room"}, {"of": "ticket"})
    assert done.state == pb.RUN_STATE_FAILED
    assert done.error.message == "the step `pay` failed: no money; `hotel` could not be undone: gone"
    assert [step.id for step in done.steps] == ["flight", "hotel", "pay", "hotel.compensate", "flight.compensate"]
    types = [event.type for event in await history(stub, run.id)]
    assert pb.RUN_EVENT_TYPE_RUN_COMPENSATING in types


async def test_undoing_goes_on_after_the_scheduler_was_killed(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        await world.stop()
        await world.start_process()
        stub = world.stub()
        await put(stub, TRIP)
        run = await begin(stub)
        (await world.dispatcher.call("flight")).succeed("ticket")
        (await world.dispatcher.call("hotel")).succeed("room")
        await world.dispatcher.call("pay")
        await stub.CancelRun(pb.CancelRunRequest(run_id=run.id, reason="rain"))
        await world.dispatcher.call("hotel.compensate")

        await world.kill()
        world.dispatcher.auto = lambda call: call.succeed(None)
        await world.start_process()

        assert (await ended(world.stub(), run.id)).state == pb.RUN_STATE_CANCELLED
        undone = [call.step for call in world.dispatcher.calls if call.step.endswith(".compensate")]
        assert undone == ["hotel.compensate", "hotel.compensate", "flight.compensate"]
