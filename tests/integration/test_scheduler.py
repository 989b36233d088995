"""The scheduler's process over real connections: what its contract says, and what survives it.

One file, though a long one: it follows the contract of one service from its first RPC to its last.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import error_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.session import delivery
from tests.integration.scheduler_harness import Call, World, begin, ended, history, json, progress, put, running_world, seconds
from tests.support.waiting import eventually

CHAIN = {
    "a": {"call": "x.a", "with": {"n": "${{ inputs.n }}"}},
    "b": {"call": "x.b", "needs": "a", "with": {"got": "${{ steps.a.output }}"}},
}
INPUTS = {"n": {"type": "integer", "default": 1}}
OUTPUTS = {"result": "${{ steps.b.output }}"}
ONE = {"a": {"call": "x.a"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


def states(run: pb.Run) -> dict[str, str]:
    return {step.id: pb.StepState.Name(step.state).removeprefix("STEP_STATE_") for step in run.steps}


def kinds(events: list[pb.RunEvent]) -> list[str]:
    return [pb.RunEventType.Name(event.type).removeprefix("RUN_EVENT_TYPE_") for event in events]


async def refused(awaitable: Any, reason: Reason) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        await awaitable
    assert caught.value.reason is reason, caught.value
    return caught.value


async def test_a_run_goes_through_its_steps_and_gives_its_outputs(world: World) -> None:
    stub = world.stub()
    workflow = await put(stub, CHAIN, inputs=INPUTS, outputs=OUTPUTS)
    run = await begin(stub, {"n": 7}, labels={"team": "blue"})

    first = await world.dispatcher.call("a")
    assert (first.request.function, first.arguments, first.run_id) == ("x.a", {"n": 7}, run.id)
    assert not first.redelivered
    assert first.request.origin.namespace == "default"
    assert first.request.origin.principal == Identity.client("dev").uri
    assert run.trace_id
    assert run.trace_id in first.request.traceparent
    first.succeed({"rows": 3})
    (await world.dispatcher.call("b")).succeed([1, 2], instance="i-2")
    done = await ended(stub, run.id)

    assert (done.state, done.workflow_version, dict(done.labels)) == (pb.RUN_STATE_SUCCEEDED, workflow.version, {"team": "blue"})
    assert orjson.loads(done.outputs.data) == {"result": [1, 2]}
    assert orjson.loads(done.inputs.data) == {"n": 7}
    assert states(done) == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    assert orjson.loads(done.steps[0].output.data) == {"rows": 3}
    events = await history(stub, run.id)
    assert [event.sequence for event in events] == list(range(1, done.last_sequence + 1))
    assert kinds(events)[-1] == "RUN_SUCCEEDED"
    assert [event.instance_id for event in events if event.instance_id] == ["i-1", "i-2"]
    assert (await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run == done


async def test_who_starts_a_run_may_wait_for_its_end(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)

    starting = asyncio.ensure_future(stub.StartRun(pb.StartRunRequest(workflow="flow", request_id="r-1", wait=seconds(30))))
    call = await world.dispatcher.call("a")
    assert not starting.done()
    call.succeed(7)
    run = (await starting).run

    assert (run.state, orjson.loads(run.outputs.data), list(run.steps)) == (pb.RUN_STATE_SUCCEEDED, {}, [])
    again = (await stub.StartRun(pb.StartRunRequest(workflow="flow", request_id="r-1", wait=seconds(30)))).run
    assert again == run


async def test_a_wait_for_the_end_that_is_too_short_gives_the_run_as_it_is(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)

    run = (await stub.StartRun(pb.StartRunRequest(workflow="flow", wait=seconds(0.2)))).run
    assert run.state == pb.RUN_STATE_RUNNING
    (await world.dispatcher.call("a")).succeed(7)
    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED
    fault = await refused(stub.StartRun(pb.StartRunRequest(workflow="flow", wait=seconds(3601))), Reason.INVALID_ARGUMENTS)
    assert [one.field for one in fault.violations] == ["wait"]


async def test_a_history_is_followed_live_from_any_point(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)
    run = await begin(stub)
    whole = asyncio.create_task(history(stub, run.id))
    rest = asyncio.create_task(history(stub, run.id, after=2))
    call = await world.dispatcher.call("a")

    async def noted() -> bool:
        return bool((await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run.last_sequence >= 4)

    call.say(progress=progress(0.5, "half"))
    await eventually(noted)
    call.say(progress=progress(0.6, "too soon after the last"))
    call.succeed("done")

    events = await whole
    assert kinds(events) == [
        "RUN_STARTED",
        "STEP_STARTED",
        "TASK_STARTED",
        "TASK_PROGRESS",
        "TASK_SUCCEEDED",
        "STEP_SUCCEEDED",
        "RUN_SUCCEEDED",
    ]
    assert await rest == events[2:]
    assert (events[3].progress.fraction, events[3].progress.message) == (0.5, "half")
    assert [orjson.loads(event.output.data) for event in events if event.HasField("output")] == ["done", "done", {}]
    assert await history(stub, run.id, after=7) == []
    assert await history(stub, run.id, after=99) == []


async def test_for_each_over_many_items_keeps_within_its_bound(world: World) -> None:
    stub = world.stub()
    await put(
        stub,
        {"a": {"call": "x.a", "for-each": "${{ inputs.items }}", "max-parallel": 3, "with": {"i": "${{ item }}"}}},
        inputs={"items": {"type": "array"}},
        outputs={"all": "${{ steps.a.output }}"},
    )
    running: list[Call] = []
    most = 0

    def answer(call: Call) -> None:
        nonlocal most
        running.append(call)
        most = max(most, len(running))

        def reply() -> None:
            running.remove(call)
            call.succeed(call.arguments["i"] * 2)

        asyncio.get_running_loop().call_later(0.005, reply)

    world.dispatcher.auto = answer
    run = await ended(stub, (await begin(stub, {"items": list(range(50))})).id)

    assert orjson.loads(run.outputs.data) == {"all": [2 * n for n in range(50)]}
    assert (run.steps[0].tasks, run.steps[0].tasks_succeeded, run.steps[0].attempts) == (50, 50, 50)
    assert most <= 3


async def test_a_streaming_function_gives_the_list_of_its_items(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE, outputs={"r": "${{ steps.a.output }}"})
    run = await begin(stub)
    call = await world.dispatcher.call("a")

    for item in (1, {"two": 2}):
        call.say(item=json(item))
    call.finish()

    assert orjson.loads((await ended(stub, run.id)).outputs.data) == {"r": [1, {"two": 2}]}


async def test_a_failing_function_is_tried_again_and_then_fails_the_run(world: World) -> None:
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a", "timeout": "5s", "retry": {"attempts": 2, "delay": "50ms"}}, "b": {"call": "x.b", "needs": "a"}})
    run = await begin(stub)
    broken = ParadeError(Reason.AGENT_ERROR, "division by zero", metadata={"exception_type": "ZeroDivisionError"}, retryable=True)

    first = await world.dispatcher.call("a")
    first.fail(broken)
    (await world.dispatcher.call("a", 1)).fail(broken)
    done = await ended(stub, run.id)

    assert 4 < first.request.timeout <= 5
    assert states(done) == {"a": "FAILED", "b": "SKIPPED"}
    assert done.error.reason == error_pb2.ERROR_REASON_AGENT_ERROR
    assert "division by zero" in done.error.message
    assert dict(done.error.metadata) == {"exception_type": "ZeroDivisionError", "step": "a"}
    assert kinds(await history(stub, run.id))[2:6] == ["TASK_STARTED", "TASK_RETRYING", "TASK_STARTED", "TASK_FAILED"]


async def test_no_capacity_is_waited_out(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)
    run = await begin(stub)

    for number in range(3):
        (await world.dispatcher.call("a", number)).fail(ParadeError(Reason.NO_CAPACITY, "all are full"))
    (await world.dispatcher.call("a", 3)).succeed(1)

    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED
    assert not any(call.redelivered for call in world.dispatcher.calls)


async def test_cancel_stops_what_runs(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    run = await begin(stub)
    call = await world.dispatcher.call("a")

    cancelled = (await stub.CancelRun(pb.CancelRunRequest(run_id=run.id, reason="not needed"))).run
    done = await ended(stub, run.id)

    assert cancelled.state in (pb.RUN_STATE_CANCELLING, pb.RUN_STATE_CANCELLED)
    assert done.state == pb.RUN_STATE_CANCELLED
    assert states(done) == {"a": "CANCELLED", "b": "CANCELLED"}
    await eventually(lambda: call.cancelled)
    assert (await stub.CancelRun(pb.CancelRunRequest(run_id=run.id))).run == done
    assert [event.message for event in await history(stub, run.id) if event.message] == ["not needed"]


async def test_a_run_that_ended_in_another_way_cannot_be_cancelled(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)
    run = await begin(stub)
    (await world.dispatcher.call("a")).succeed(1)
    await ended(stub, run.id)

    await refused(stub.CancelRun(pb.CancelRunRequest(run_id=run.id)), Reason.FAILED_PRECONDITION)


async def test_a_run_past_its_timeout_is_ended(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE, timeout="200ms")

    done = await ended(stub, (await begin(stub)).id)

    assert done.state == pb.RUN_STATE_FAILED
    assert done.error.reason == error_pb2.ERROR_REASON_DEADLINE_EXCEEDED


async def test_a_call_past_the_timeout_of_its_step_ends_even_if_the_dispatcher_says_nothing(world: World) -> None:
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a", "timeout": "100ms"}})

    done = await ended(stub, (await begin(stub)).id)

    assert done.error.reason == error_pb2.ERROR_REASON_DEADLINE_EXCEEDED


async def test_waiting_gives_back_the_run_as_it_is_when_the_time_has_passed(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)
    run = await begin(stub)

    waited = await stub.WaitRun(pb.WaitRunRequest(run_id=run.id, timeout=seconds(0.05)))

    assert waited.run.state == pb.RUN_STATE_RUNNING


async def test_the_same_request_gives_the_same_run(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)

    runs = await asyncio.gather(*(begin(stub, request_id="order-7") for _ in range(20)))
    again = await begin(stub, request_id="order-7")
    other = await begin(stub, request_id="order-8")

    assert {run.id for run in runs} == {again.id}
    assert other.id != again.id
    await eventually(lambda: len(world.dispatcher.calls) == 2)


async def test_a_workflow_that_calls_unknown_functions_is_refused_unless_that_is_allowed(world: World) -> None:
    stub = world.stub()
    source = "name: flow\nsteps:\n  a: {call: x.a}\n  b:\n    call: x.nope\n  c: {call: y.z}\n"

    error = await refused(stub.PutWorkflow(pb.PutWorkflowRequest(source=source)), Reason.INVALID_ARGUMENTS)

    assert [(violation.field, violation.line) for violation in error.violations] == [("steps.b.call", 5), ("steps.c.call", 6)]
    allowed = (await stub.PutWorkflow(pb.PutWorkflowRequest(source=source, allow_unregistered=True))).workflow
    assert (allowed.name, allowed.version, allowed.source) == ("flow", 1, source)


async def test_a_workflow_with_faults_tells_them_all(world: World) -> None:
    source = "name: flow\nsteps:\n  a: {call: x.a, needs: b}\n  b: {call: x.b, needs: a, wth: 1}\n"

    error = await refused(world.stub().PutWorkflow(pb.PutWorkflowRequest(source=source)), Reason.INVALID_ARGUMENTS)

    assert [violation.line for violation in error.violations] == [3, 4]


async def test_a_workflow_with_more_faults_than_an_answer_can_carry_is_refused_all_the_same(world: World) -> None:
    source = "name: flow\nsteps:\n" + "".join(
        f"  s{number}: {{call: x.a, with: {{k: '${{{{ inputs.{'x' * 300} }}}}'}}}}\n" for number in range(300)
    )

    error = await refused(world.stub().PutWorkflow(pb.PutWorkflowRequest(source=source)), Reason.INVALID_ARGUMENTS)

    assert len(error.violations) > 10
    assert "300 faults" in error.message


async def test_workflows_have_versions_and_are_listed(world: World) -> None:
    stub = world.stub()
    first = await put(stub, ONE)
    assert await put(stub, ONE) == first
    second = await put(stub, ONE, description="changed")

    assert (first.version, second.version) == (1, 2)
    assert (await stub.GetWorkflow(pb.GetWorkflowRequest(name="flow", version=1))).workflow == first
    assert (await stub.GetWorkflow(pb.GetWorkflowRequest(name="flow"))).workflow == second
    listed = await stub.ListWorkflows(pb.ListWorkflowsRequest(page_size=1))
    assert [(workflow.name, workflow.version, workflow.source) for workflow in listed.workflows] == [("flow", 2, "")]
    await refused(stub.GetWorkflow(pb.GetWorkflowRequest(name="nope")), Reason.NOT_FOUND)


async def test_runs_are_listed_in_pages_and_by_label(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)
    world.dispatcher.auto = lambda call: call.succeed(1)
    ids = [(await begin(stub, labels={"number": str(number)})).id for number in range(5)]
    for id in ids:
        await ended(stub, id)

    found: list[str] = []
    token = ""
    while True:
        page = await stub.ListRuns(pb.ListRunsRequest(page_size=2, page_token=token, states=[pb.RUN_STATE_SUCCEEDED]))
        found.extend(run.id for run in page.runs)
        token = page.next_page_token
        if not token:
            break

    assert found == ids[::-1]
    assert [run.id for run in (await stub.ListRuns(pb.ListRunsRequest(labels=["number=3"]))).runs] == [ids[3]]
    assert (await stub.ListRuns(pb.ListRunsRequest(states=[pb.RUN_STATE_FAILED]))).runs == []
    bad = pb.ListRunsRequest(
        page_size=2, page_token=(await stub.ListRuns(pb.ListRunsRequest(page_size=2))).next_page_token, workflow="flow"
    )
    await refused(stub.ListRuns(bad), Reason.INVALID_ARGUMENTS)


STARTS_AT_FAULT: dict[str, tuple[dict[str, Any], str]] = {
    "outside its schema": ({"inputs": json({"n": "x"})}, "inputs.n"),
    "unknown input": ({"inputs": json({"m": 1})}, "inputs.m"),
    "no object": ({"inputs": json([])}, "inputs"),
    "no JSON": ({"inputs": {"data": b"{"}}, "inputs"),
    "another media type": ({"inputs": {"data": b"{}", "media_type": "text/plain"}}, "inputs.media_type"),
    "too large": ({"inputs": {"data": b"[" + b" " * 5_000_000 + b"]"}}, "inputs"),
    "long request id": ({"request_id": "x" * 129}, "request_id"),
    "empty label": ({"labels": {"": "x"}}, "labels."),
    "many labels": ({"labels": {f"l{number}": "x" for number in range(33)}}, "labels"),
}


@pytest.mark.parametrize("fault", STARTS_AT_FAULT)
async def test_a_start_at_fault_is_refused_naming_the_field(world: World, fault: str) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    fields, field = STARTS_AT_FAULT[fault]

    error = await refused(stub.StartRun(pb.StartRunRequest(workflow="flow", **fields)), Reason.INVALID_ARGUMENTS)

    assert [violation.field for violation in error.violations] == [field]


async def test_what_does_not_exist_is_not_found_in_any_way(world: World) -> None:
    stub = world.stub()
    await refused(begin(stub), Reason.NOT_FOUND)
    await refused(stub.GetRun(pb.GetRunRequest(run_id="run-x")), Reason.NOT_FOUND)
    await refused(stub.WaitRun(pb.WaitRunRequest(run_id="run-x")), Reason.NOT_FOUND)
    await refused(stub.CancelRun(pb.CancelRunRequest(run_id="run-x")), Reason.NOT_FOUND)
    await refused(history(stub, "run-x"), Reason.NOT_FOUND)


async def test_another_namespace_sees_nothing(world: World) -> None:
    stub, stranger = world.stub(), world.stub(Identity.client("dev", "elsewhere"))
    await put(stub, ONE)
    run = await begin(stub)

    await refused(stranger.GetRun(pb.GetRunRequest(run_id=run.id)), Reason.NOT_FOUND)
    await refused(stranger.CancelRun(pb.CancelRunRequest(run_id=run.id)), Reason.NOT_FOUND)
    await refused(history(stranger, run.id), Reason.NOT_FOUND)
    await refused(begin(stranger), Reason.NOT_FOUND)
    assert (await stranger.ListRuns(pb.ListRunsRequest())).runs == []


async def test_a_run_survives_the_death_of_the_scheduler(world: World) -> None:
    await world.stop()
    await world.start_process()
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS, outputs=OUTPUTS)
    run = await begin(stub)
    (await world.dispatcher.call("a")).succeed("from a")
    lost = await world.dispatcher.call("b")

    await world.kill()
    await eventually(lambda: lost.cancelled)
    await world.start_process()
    again = await world.dispatcher.call("b", 1)
    again.succeed("from b")
    done = await ended(stub, run.id)

    assert again.redelivered
    assert (again.call_id, again.request.options.redelivered) == (lost.call_id, True)
    assert again.arguments == {"got": "from a"}
    assert orjson.loads(done.outputs.data) == {"result": "from b"}
    assert len(world.dispatcher.calls) == 3
    assert kinds(await history(stub, run.id)).count("TASK_SUCCEEDED") == 2


async def test_a_graceful_end_waits_for_what_runs_and_hands_out_nothing_more(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    run = await begin(stub)
    call = await world.dispatcher.call("a")
    asyncio.get_running_loop().call_later(0.2, call.succeed, "in time")

    await world.stop()
    assert len(world.dispatcher.calls) == 1
    await world.start()

    after = await world.dispatcher.call("b")
    assert after.arguments == {"got": "in time"}
    assert not after.redelivered
    after.succeed(1)
    assert (await ended(stub, run.id)).state == pb.RUN_STATE_SUCCEEDED


async def test_a_graceful_end_leaves_a_call_that_outlasts_it_to_the_next_process(tmp_path: Path) -> None:
    async with running_world(tmp_path, drain_timeout=0.1) as world:
        stub = world.stub()
        await put(stub, ONE)
        run = await begin(stub)
        left = await world.dispatcher.call("a")
        await world.stop()
        await eventually(lambda: left.cancelled)
        await world.start()

        again = await world.dispatcher.call("a", 1)
        again.succeed("done")
        done = await ended(stub, run.id)

        assert left.left
        assert (again.call_id, again.request.options.redelivered) == (left.call_id, True)
        assert done.state == pb.RUN_STATE_SUCCEEDED
        assert kinds(await history(stub, run.id)).count("TASK_SUCCEEDED") == 1


async def test_streams_end_at_once_when_the_scheduler_stops(world: World) -> None:
    stub = world.stub()
    await put(stub, ONE)
    run = await begin(stub)
    (await world.dispatcher.call("a")).say(progress=progress(0.1, "begun"))
    watching = asyncio.create_task(history(stub, run.id))
    waiting = asyncio.create_task(ended(stub, run.id))
    await eventually(lambda: len(world.dispatcher.calls) == 1)
    await stub.WaitRun(pb.WaitRunRequest(run_id=run.id, timeout=seconds(0.05)))

    await world.stop()

    for task in (watching, waiting):
        await refused(task, Reason.UNAVAILABLE)


async def test_a_dispatcher_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "REDELIVERY", 0.2)
    async with running_world(tmp_path, dispatcher="127.0.0.1:1") as world:
        stub = world.stub()
        await put(stub, ONE)
        run = await begin(stub)

        async def tried_again() -> bool:
            attempts: int = (await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run.steps[0].attempts
            return attempts >= 2

        await eventually(tried_again)
        await stub.CancelRun(pb.CancelRunRequest(run_id=run.id))
        done = await ended(stub, run.id)

    assert done.state == pb.RUN_STATE_CANCELLED


async def test_no_more_runs_than_the_bound_go_on_at_once(tmp_path: Path) -> None:
    async with running_world(tmp_path, max_runs=2) as world:
        stub = world.stub()
        await put(stub, ONE)
        first = await begin(stub)
        await begin(stub)

        await refused(begin(stub), Reason.NO_CAPACITY)
        (await world.dispatcher.call("a")).succeed(1)
        await ended(stub, world.dispatcher.calls[0].run_id)

        assert (await begin(stub)).id != first.id


async def test_an_outcome_is_accepted_once_however_often_the_scheduler_dies(world: World) -> None:
    await world.stop()
    await world.start_process()
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a", "for-each": list(range(8)), "max-parallel": 4, "with": {"i": "${{ item }}"}}})
    run = await begin(stub)
    for _ in range(4):
        await eventually(lambda: sum(not call.ended for call in world.dispatcher.calls) >= 1)
        for call in [call for call in world.dispatcher.calls if not call.ended][-2:]:
            call.succeed(call.arguments["i"])
        await world.kill()
        await eventually(lambda: all(call.ended for call in world.dispatcher.calls))
        await world.start_process()
    world.dispatcher.auto = lambda call: call.succeed(call.arguments["i"])
    for call in world.dispatcher.calls:
        call.succeed(call.arguments["i"])

    done = await ended(stub, run.id)

    assert orjson.loads(done.steps[0].output.data) == list(range(8))
    accepted = [event.task for event in await history(stub, run.id) if event.type == pb.RUN_EVENT_TYPE_TASK_SUCCEEDED]
    assert sorted(accepted) == list(range(8))


async def test_a_scheduler_that_stands_by_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        second = world.replica()
        standing_by = asyncio.create_task(second.start_process())
        await eventually(lambda: "standing by" in second.words(), within=10)

        status = await second.terminate()

        standing_by.cancel()
        assert status == 0
