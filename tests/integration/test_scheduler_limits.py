"""What a namespace may have at most: more is refused in time, by an error that says the limit, and others are not concerned."""

from pathlib import Path
from typing import Any

import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from tests.integration.scheduler_harness import begin, ended, json, put, running_world
from tests.support.waiting import eventually

STEP = {"a": {"call": "x.a"}}
OTHER = Identity.client("ada", namespace="other")


async def refused(reason: Reason, match: str, call: Any) -> None:
    with pytest.raises(ParadeError, match=match) as caught:
        await call
    assert caught.value.reason is reason


async def test_a_namespace_has_so_many_runs_at_once_and_another_still_starts_its_own(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_runs_per_namespace=3) as world:
        stub, other = world.stub(), world.stub(OTHER)
        await put(stub, STEP)
        await put(other, STEP)
        for _ in range(3):
            await begin(stub)

        await refused(Reason.NO_CAPACITY, "may have 3", begin(stub))
        await begin(other)

        (await world.dispatcher.call("a")).succeed(1)

        async def starts_again() -> bool:
            try:
                await begin(stub)
            except ParadeError:
                return False
            return True

        await eventually(starts_again)


async def test_a_start_that_is_asked_again_finds_its_run_though_there_is_no_room(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_runs_per_namespace=1) as world:
        stub = world.stub()
        await put(stub, STEP)
        first = await begin(stub, request_id="one")

        assert (await begin(stub, request_id="one")).id == first.id
        await refused(Reason.NO_CAPACITY, "may have 1", begin(stub, request_id="two"))


async def test_so_many_runs_of_a_namespace_wait_for_their_groups(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_waiting_per_namespace=2) as world:
        stub = world.stub()
        await put(stub, STEP, concurrency="one")
        await begin(stub)
        await world.dispatcher.call("a")

        async def full() -> bool:
            try:
                await begin(stub)
            except ParadeError as error:
                return "2 runs that wait for their concurrency group and may have 2" in str(error)
            return False

        await eventually(full)
        assert len((await stub.ListRuns(pb.ListRunsRequest(states=[pb.RUN_STATE_QUEUED]))).runs) == 2


async def test_inputs_are_no_larger_than_may_be(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_input_bytes=1024) as world:
        stub = world.stub()
        await put(stub, STEP, inputs={"text": {"type": "string"}})
        await begin(stub, {"text": "x" * 1000})

        await refused(Reason.INVALID_ARGUMENTS, "at most 1,024", begin(stub, {"text": "x" * 1100}))


async def test_a_namespace_publishes_so_many_events_a_day_and_publishing_one_again_is_none(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_events_per_namespace=2) as world:
        stub = world.stub()
        for id in ("e-1", "e-2"):
            await stub.PublishEvent(pb.PublishEventRequest(type="t", value=json(1), event_id=id))

        again = await stub.PublishEvent(pb.PublishEventRequest(type="t", value=json(1), event_id="e-2"))

        assert again.event_id == "e-2"
        await refused(Reason.NO_CAPACITY, "may have 2", stub.PublishEvent(pb.PublishEventRequest(type="t", event_id="e-3")))
        await world.stub(OTHER).PublishEvent(pb.PublishEventRequest(type="t", event_id="e-3"))


async def test_a_run_whose_history_grows_too_long_is_cancelled(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_history=100) as world:
        stub = world.stub()
        world.dispatcher.auto = lambda call: call.succeed(1)
        await put(stub, {"a": {"call": "x.a", "loop": {"until": "false", "limit": 1000}}})

        run = await ended(stub, (await begin(stub)).id)

    assert run.state == pb.RUN_STATE_CANCELLED
    assert run.last_sequence < 200


async def test_a_workflow_that_says_so_is_not_started_by_hand(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        stub = world.stub()
        await put(stub, STEP, on={"manual": False, "event": {"type": "go"}})

        await refused(Reason.FAILED_PRECONDITION, "manual: false`, and starts with an event `go`$", begin(stub))
        await stub.PublishEvent(pb.PublishEventRequest(type="go"))

        await world.dispatcher.call("a")
