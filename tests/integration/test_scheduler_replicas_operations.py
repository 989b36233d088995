"""Runs that one scheduler of several leads, operated through any of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.integration.scheduler_harness import begin, ended, history, json, put
from tests.integration.test_scheduler_replicas import Replicas, replicas
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

STEPS = {
    "go": {"wait": {"signal": "go"}},
    "ask": {"wait": {"approval": {"message": "go on?"}}, "needs": "go"},
}
OUTPUTS = {"go": "${{ steps.go.output }}", "by": "${{ steps.ask.output.by }}"}

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def three(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Replicas]:
    async with replicas(tmp_path, postgres_server) as three:
        yield three


async def test_runs_of_all_replicas_are_operated_through_any(three: Replicas) -> None:
    stubs = [world.stub() for world in three.worlds]
    await put(stubs[0], STEPS, outputs=OUTPUTS)
    await asyncio.sleep(1.1)  # as long as another replica may take an older list of workflows for the newest
    ids = [(await begin(stubs[number % 3])).id for number in range(6)]
    stub = stubs[1]

    for number, id in enumerate(ids):
        assert (await stub.PauseRun(pb.PauseRunRequest(run_id=id, reason="look"))).run.state == pb.RUN_STATE_PAUSED
        assert (await stub.ResumeRun(pb.ResumeRunRequest(run_id=id))).run.state == pb.RUN_STATE_RUNNING
        for _ in range(2):
            await stub.SignalRun(pb.SignalRunRequest(run_id=id, name="go", value=json(number), request_id="once"))

    async def all_ask() -> bool:
        return len((await stub.ListApprovals(pb.ListApprovalsRequest())).approvals) == len(ids)

    await eventually(all_ask)
    for id in ids:
        await stub.ResolveApproval(pb.ResolveApprovalRequest(run_id=id, step="ask", approved=True, note="fine"))
    for number, id in enumerate(ids):
        done = await ended(stub, id)
        assert (done.state, orjson.loads(done.outputs.data)["go"]) == (pb.RUN_STATE_SUCCEEDED, number)
        assert sum(event.type == pb.RUN_EVENT_TYPE_SIGNAL_RECEIVED for event in await history(stub, id)) == 1


async def test_runs_of_all_replicas_are_repeated_and_branch_off_through_any(three: Replicas) -> None:
    stubs = [world.stub() for world in three.worlds]
    three.dispatcher.auto = lambda call: (
        call.succeed(call.step) if call.step == "a" else call.fail(ParadeError(Reason.INVALID_ARGUMENTS, "no"))
    )
    chain = {"a": {"call": "x.a"}, "b": {"call": "x.b", "needs": "a"}}
    await put(stubs[0], chain, outputs={"a": "${{ steps.a.output }}", "b": "${{ steps.b.output }}"})
    await asyncio.sleep(1.1)
    ids = [(await begin(stubs[number % 3])).id for number in range(6)]
    for id in ids:
        await ended(stubs[1], id)
    three.dispatcher.auto = lambda call: call.succeed(call.step)
    made = len(three.dispatcher.calls)

    again = [(await stubs[1].RerunFromStep(pb.RerunFromStepRequest(run_id=id, step="b"))).run.id for id in ids]
    last_of_a = [
        next(
            event.sequence for event in await history(stubs[1], id) if event.step == "a" and event.type == pb.RUN_EVENT_TYPE_STEP_SUCCEEDED
        )
        for id in ids
    ]
    branches = [
        (await stubs[2].ForkRun(pb.ForkRunRequest(run_id=id, after_sequence=sequence))).run.id
        for id, sequence in zip(ids, last_of_a, strict=True)
    ]

    for id in [*again, *branches]:
        assert orjson.loads((await ended(stubs[0], id)).outputs.data) == {"a": "a", "b": "b"}
    assert {call.step for call in three.dispatcher.calls[made:]} == {"b"}


async def test_children_are_led_where_their_parents_are_and_outlive_a_replica(three: Replicas) -> None:
    stubs = [world.stub() for world in three.worlds]
    source = orjson.dumps({"name": "child", "steps": {"a": {"call": "x.a"}}, "outputs": {"a": "${{ steps.a.output }}"}}).decode()
    await stubs[0].PutWorkflow(pb.PutWorkflowRequest(source=source))
    await asyncio.sleep(1.1)
    await put(stubs[0], {"sub": {"run": "child"}}, outputs={"a": "${{ steps.sub.output.a }}"})
    await asyncio.sleep(1.1)
    ids = [(await begin(stubs[number % 3])).id for number in range(9)]
    await eventually(lambda: len(three.dispatcher.calls) == 9)

    await three.worlds[0].kill()
    three.dispatcher.auto = lambda call: call.succeed("done")
    for call in list(three.dispatcher.calls):
        if not call.ended:
            call.succeed("done")

    for id in ids:
        assert orjson.loads((await ended(stubs[1], id, within=30)).outputs.data) == {"a": "done"}
    children = (await stubs[1].ListRuns(pb.ListRunsRequest(workflow="child"))).runs
    assert sorted(child.parent_run_id for child in children) == sorted(ids)
