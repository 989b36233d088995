"""Runs that run other workflows, over real connections, and what survives the scheduler."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.integration.scheduler_harness import World, begin, ended, history, put, running_world, seconds
from tests.support.waiting import eventually

CHILD = {"name": "child", "inputs": {"n": {"type": "integer"}}, "steps": {"a": {"call": "x.a", "with": {"n": "${{ inputs.n }}"}}}}
RUNS = {"sub": {"run": "child", "with": {"n": "${{ inputs.n }}"}}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


async def put_child(stub: Any, **words: Any) -> None:
    source = orjson.dumps({**CHILD, "outputs": {"double": "${{ steps.a.output }}"}, **words}).decode()
    await stub.PutWorkflow(pb.PutWorkflowRequest(source=source))


async def put_parent(stub: Any, **words: Any) -> None:
    await put(stub, {"sub": {**RUNS["sub"], **words}}, inputs={"n": {"type": "integer"}}, outputs={"sub": "${{ steps.sub.output }}"})


async def child_of(stub: Any, run_id: str) -> str:
    """Waits until a run has started another one, and returns that."""
    async with asyncio.timeout(10):
        async for response in stub.WatchRun(pb.WatchRunRequest(run_id=run_id)):
            if response.event.child_run_id:
                return str(response.event.child_run_id)
    raise AssertionError("it has started none")


async def test_a_step_runs_another_workflow_and_has_its_outputs(world: World) -> None:
    stub = world.stub()
    await put_child(stub)
    await put_parent(stub)
    run = await begin(stub, {"n": 4}, labels={"team": "blue"}, priority=3)

    call = await world.dispatcher.call("a")
    call.succeed(8)
    done = await ended(stub, run.id)
    child = await ended(stub, await child_of(stub, run.id))

    assert (call.run_id, call.arguments) == (child.id, {"n": 4})
    assert orjson.loads(done.outputs.data) == {"sub": {"double": 8}}
    assert (child.parent_run_id, child.workflow, child.priority) == (run.id, "child", 3)
    assert child.id[-2:] == run.id[-2:]


async def test_a_child_that_fails_fails_its_step(world: World) -> None:
    stub = world.stub()
    await put_child(stub)
    await put_parent(stub)
    run = await begin(stub, {"n": 4})

    (await world.dispatcher.call("a")).fail(ParadeError(Reason.INVALID_ARGUMENTS, "no luck"))
    done = await ended(stub, run.id)

    child = await child_of(stub, run.id)
    assert done.state == pb.RUN_STATE_FAILED
    assert child in done.error.message
    assert "no luck" in done.error.message


async def test_a_step_that_is_tried_again_runs_another_child(world: World) -> None:
    stub = world.stub()
    await put_child(stub)
    await put_parent(stub, retry={"attempts": 2, "delay": "10ms", "on": ["AGENT_ERROR"]})
    run = await begin(stub, {"n": 4})

    (await world.dispatcher.call("a")).fail(ParadeError(Reason.AGENT_ERROR, "no luck"))
    second = await world.dispatcher.call("a", 1)
    second.succeed(8)

    assert orjson.loads((await ended(stub, run.id)).outputs.data) == {"sub": {"double": 8}}
    assert second.run_id != world.dispatcher.calls[0].run_id


async def test_a_run_that_is_cancelled_cancels_its_child(world: World) -> None:
    stub = world.stub()
    await put_child(stub)
    await put_parent(stub)
    run = await begin(stub, {"n": 4})
    call = await world.dispatcher.call("a")

    await stub.CancelRun(pb.CancelRunRequest(run_id=run.id))

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_CANCELLED
    assert (await ended(stub, call.run_id)).state == pb.RUN_STATE_CANCELLED
    assert call.cancelled


async def test_a_child_that_somebody_cancels_fails_its_step(world: World) -> None:
    stub = world.stub()
    await put_child(stub)
    await put_parent(stub)
    run = await begin(stub, {"n": 4})

    await stub.CancelRun(pb.CancelRunRequest(run_id=(await world.dispatcher.call("a")).run_id))

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_FAILED


async def test_parents_and_children_go_on_after_the_scheduler_was_killed(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        await world.stop()
        await world.start_process()
        stub = world.stub()
        await put_child(stub)
        await put_parent(stub)
        runs = [await begin(stub, {"n": number}) for number in range(5)]
        await eventually(lambda: len(world.dispatcher.calls) == 5)
        await world.kill()
        world.dispatcher.auto = lambda call: call.succeed(2 * call.arguments["n"])
        await world.start_process()

        for number, run in enumerate(runs):
            assert orjson.loads((await ended(stub, run.id)).outputs.data) == {"sub": {"double": 2 * number}}
        children = (await stub.ListRuns(pb.ListRunsRequest(workflow="child"))).runs
        assert {child.parent_run_id for child in children} == {run.id for run in runs}
        assert len(children) == len(runs)


async def test_a_workflow_that_runs_itself_is_stopped(world: World) -> None:
    stub = world.stub()
    await put(stub, {"again": {"run": "flow"}})
    run = await begin(stub)

    done = await ended(stub, run.id, within=30)

    assert done.state == pb.RUN_STATE_FAILED
    assert "at most 8 deep" in done.error.message
    assert len((await stub.ListRuns(pb.ListRunsRequest())).runs) == 8


async def test_a_child_that_cannot_be_started_fails_its_step(world: World) -> None:
    stub = world.stub()
    await put_child(stub)
    await put(stub, {"sub": {"run": "child", "with": {"n": "text"}}})
    run = await begin(stub)

    assert "inputs.n" in str((await ended(stub, run.id)).error)


async def test_a_workflow_that_runs_one_that_there_is_not_cannot_be_put(world: World) -> None:
    stub = world.stub()

    with pytest.raises(ParadeError, match="there is no workflow `child`") as caught:
        await put_parent(stub)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert [violation.field for violation in caught.value.violations] == ["steps.sub.run"]
    await put_child(stub)
    await put_parent(stub)


async def test_a_child_that_waits_holds_its_parent(world: World) -> None:
    stub = world.stub()
    source = orjson.dumps({"name": "child", "steps": {"ask": {"wait": {"approval": {"message": "go on?"}}}}}).decode()
    await stub.PutWorkflow(pb.PutWorkflowRequest(source=source))
    await put(stub, {"sub": {"run": "child"}}, outputs={"answer": "${{ steps.sub.output }}"})
    run = await begin(stub)
    child = await child_of(stub, run.id)

    async def asks() -> bool:
        return bool((await stub.ListApprovals(pb.ListApprovalsRequest(run_id=child))).approvals)

    await eventually(asks)
    assert (await stub.WaitRun(pb.WaitRunRequest(run_id=run.id, timeout=seconds(0.1)))).run.state == pb.RUN_STATE_RUNNING
    await stub.ResolveApproval(pb.ResolveApprovalRequest(run_id=child, step="ask", approved=True))

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED
    assert (await history(stub, child))[-1].type == pb.RUN_EVENT_TYPE_RUN_SUCCEEDED
