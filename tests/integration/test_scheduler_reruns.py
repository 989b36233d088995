"""What can be done with runs that there are, over real connections: repeat, branch off, end or start again by the many."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade_scheduler import operations
from tests.integration.operations_harness import CHAIN, INPUTS, cancelled, of_kind, outputs, refused, states
from tests.integration.scheduler_harness import CLIENT, World, begin, ended, history, json, put, running_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


# ------------------------------------------------------------------------------------------------ rerun and fork


async def failed_chain(world: World, stub: Any) -> pb.Run:
    """Runs the chain until `b` has failed for good."""
    await put(stub, CHAIN, inputs=INPUTS, outputs={"a": "${{ steps.a.output }}", "c": "${{ steps.c.output }}"})
    run = await begin(stub, {"n": 7}, labels={"team": "blue"}, priority=5)
    (await world.dispatcher.call("a")).succeed("kept")
    (await world.dispatcher.call("b")).fail(ParadeError(Reason.INVALID_ARGUMENTS, "no luck"))
    return await ended(stub, run.id)


async def test_a_run_is_repeated_from_a_step_on_with_other_inputs(world: World) -> None:
    stub = world.stub()
    run = await failed_chain(world, stub)

    request = pb.RerunFromStepRequest(run_id=run.id, step="b", inputs=json({"n": 8}), request_id="again")
    new = (await stub.RerunFromStep(request)).run
    same = (await stub.RerunFromStep(request)).run
    call = await world.dispatcher.call("b", 1)
    call.succeed("better")
    (await world.dispatcher.call("c")).succeed("done")
    done = await ended(stub, new.id)

    assert same.id == new.id != run.id
    assert call.arguments == {"got": "kept", "n": 8}
    assert (done.origin_run_id, dict(done.labels), done.priority) == (run.id, {"team": "blue"}, 5)
    assert orjson.loads(done.inputs.data) == {"n": 8}
    assert outputs(done) == {"a": "kept", "c": "done"}
    assert states(done) == {"a": "SUCCEEDED", "b": "SUCCEEDED", "c": "SUCCEEDED"}
    assert [call.step for call in world.dispatcher.calls] == ["a", "b", "b", "c"]
    assert await ended(stub, run.id) == run


async def test_what_a_repeated_run_keeps_outlives_the_scheduler(world: World) -> None:
    stub = world.stub()
    run = await failed_chain(world, stub)
    new = (await stub.RerunFromStep(pb.RerunFromStepRequest(run_id=run.id, step="b"))).run
    await world.dispatcher.call("b", 1)
    await world.stop()
    await world.start()

    (await world.dispatcher.call("b", 2)).succeed("better")
    (await world.dispatcher.call("c")).succeed("done")

    assert outputs(await ended(stub, new.id)) == {"a": "kept", "c": "done"}


async def test_a_run_is_repeated_whole_where_no_step_is_named(world: World) -> None:
    stub = world.stub()
    run = await failed_chain(world, stub)

    new = (await stub.RerunFromStep(pb.RerunFromStepRequest(run_id=run.id))).run

    assert (await world.dispatcher.call("a", 1)).run_id == new.id


async def test_a_repetition_that_cannot_be_is_refused(world: World) -> None:
    stub = world.stub()
    run = await failed_chain(world, stub)
    going_on = await begin(stub)

    for request, reason in (
        (pb.RerunFromStepRequest(run_id="run-none"), Reason.NOT_FOUND),
        (pb.RerunFromStepRequest(run_id=run.id, step="z"), Reason.NOT_FOUND),
        (pb.RerunFromStepRequest(run_id=run.id, version=9), Reason.NOT_FOUND),
        (pb.RerunFromStepRequest(run_id=going_on.id), Reason.FAILED_PRECONDITION),
        (pb.RerunFromStepRequest(run_id=run.id, step="b", inputs=json({"n": "x"})), Reason.INVALID_ARGUMENTS),
        (pb.RerunFromStepRequest(run_id=run.id, step="b", inputs=json([1])), Reason.INVALID_ARGUMENTS),
    ):
        await refused(stub.RerunFromStep(request), reason)


async def test_a_run_branches_off_after_an_event(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS, outputs={"a": "${{ steps.a.output }}", "c": "${{ steps.c.output }}"})
    run = await begin(stub, {"n": 7})
    (await world.dispatcher.call("a")).succeed("kept")
    await world.dispatcher.call("b")
    [event] = of_kind(await history_so_far(stub, run.id), "STEP_SUCCEEDED")

    request = pb.ForkRunRequest(run_id=run.id, after_sequence=event.sequence, inputs=json({"n": 8}), request_id="branch")
    new = (await stub.ForkRun(request)).run
    earlier = (await stub.ForkRun(pb.ForkRunRequest(run_id=run.id, after_sequence=event.sequence - 1))).run

    assert (await stub.ForkRun(request)).run.id == new.id
    call = await world.dispatcher.call("b", 1)
    assert (call.run_id, call.arguments) == (new.id, {"got": "kept", "n": 8})
    assert (await world.dispatcher.call("a", 1)).run_id == earlier.id
    assert new.origin_run_id == run.id
    await refused(stub.ForkRun(pb.ForkRunRequest(run_id=run.id, after_sequence=999)), Reason.NOT_FOUND)
    await refused(stub.ForkRun(pb.ForkRunRequest(run_id=run.id)), Reason.INVALID_ARGUMENTS)


async def test_a_branch_has_the_signals_that_no_step_had_taken(world: World) -> None:
    stub = world.stub()
    steps = {"first": {"wait": {"signal": "go"}}, "a": {"call": "x.a", "needs": "first"}, "b": {"wait": {"signal": "go"}, "needs": "a"}}
    await put(stub, steps, outputs={"b": "${{ steps.b.output }}"})
    run = await begin(stub)
    for number in (1, 2):
        await stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="go", value=json(number)))
    await world.dispatcher.call("a")
    after = (await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run.last_sequence

    request = pb.ForkRunRequest(run_id=run.id, after_sequence=after, request_id="branch")
    new = (await stub.ForkRun(request)).run
    await stub.ForkRun(request)
    (await world.dispatcher.call("a", 1)).succeed(1)
    done = await ended(stub, new.id)

    assert outputs(done) == {"b": 2}
    assert len(of_kind(await history(stub, new.id), "SIGNAL_RECEIVED")) == 1


async def history_so_far(stub: Any, run_id: str) -> list[pb.RunEvent]:
    last = (await stub.GetRun(pb.GetRunRequest(run_id=run_id))).run.last_sequence
    events: list[pb.RunEvent] = []
    async for response in stub.WatchRun(pb.WatchRunRequest(run_id=run_id)):
        events.append(response.event)
        if response.event.sequence >= last:
            break
    return events


# ------------------------------------------------------------------------------------------------ many at once


async def test_runs_are_found_by_an_input(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    runs = [await begin(stub, {"n": number}) for number in (1, 2, 2)]

    found = (await stub.ListRuns(pb.ListRunsRequest(inputs=["n=2"]))).runs

    assert [run.id for run in found] == [runs[2].id, runs[1].id]
    await refused(stub.ListRuns(pb.ListRunsRequest(inputs=["n"])), Reason.INVALID_ARGUMENTS)


async def test_many_runs_are_cancelled_by_a_filter(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    blue = [(await begin(stub, labels={"team": "blue"})).id for _ in range(3)]
    red = await begin(stub, labels={"team": "red"})
    await cancelled(stub, blue[0])
    request = pb.CancelRunsRequest(filter=pb.RunFilter(labels=["team=blue"]), reason="enough", dry_run=True)

    told = await stub.CancelRuns(request)
    assert [outcome.run_id for outcome in told.outcomes] == [blue[2], blue[1]]
    assert not told.more
    assert (await stub.GetRun(pb.GetRunRequest(run_id=blue[1]))).run.state == pb.RUN_STATE_RUNNING

    request.dry_run = False
    assert await stub.CancelRuns(request) == told
    for run in blue:
        assert (await ended(stub, run)).state == pb.RUN_STATE_CANCELLED
    assert (await stub.GetRun(pb.GetRunRequest(run_id=red.id))).run.state == pb.RUN_STATE_RUNNING
    assert list((await stub.CancelRuns(request)).outcomes) == []
    [event] = of_kind(await history(stub, blue[1]), "RUN_CANCELLING")
    assert (event.message, event.by) == ("enough", CLIENT.uri)


async def test_many_runs_are_started_again_by_a_filter_and_none_twice(world: World) -> None:
    stub = world.stub()
    world.dispatcher.auto = lambda call: call.succeed(1)
    await put(stub, {"a": {"call": "x.a"}}, inputs=INPUTS)
    runs = [(await begin(stub, {"n": number})).id for number in (1, 2)]
    for run in runs:
        await ended(stub, run)
    request = pb.RerunRunsRequest(filter=pb.RunFilter(workflow="flow"), request_id="again", dry_run=True)

    told = (await stub.RerunRuns(request)).outcomes
    assert [(outcome.run_id, outcome.new_run_id) for outcome in told] == [(runs[1], ""), (runs[0], "")]

    request.dry_run = False
    first = (await stub.RerunRuns(request)).outcomes
    for outcome in first:
        new = await ended(stub, outcome.new_run_id)
        assert new.origin_run_id == outcome.run_id
    assert (await stub.RerunRuns(request)).outcomes == first
    assert len((await stub.ListRuns(pb.ListRunsRequest())).runs) == 4


async def test_a_filter_that_says_nothing_is_refused(world: World) -> None:
    stub = world.stub()

    for request in (stub.CancelRuns(pb.CancelRunsRequest()), stub.RerunRuns(pb.RerunRunsRequest(filter=pb.RunFilter()))):
        assert [violation.field for violation in (await refused(request, Reason.INVALID_ARGUMENTS)).violations] == ["filter"]
    error = await refused(
        stub.CancelRuns(
            pb.CancelRunsRequest(
                filter=pb.RunFilter(
                    labels=["x"],
                    states=[99],  # type: ignore[list-item]  # as a newer client may send it
                )
            )
        ),
        Reason.INVALID_ARGUMENTS,
    )
    assert [violation.field for violation in error.violations] == ["states", "labels"]


async def test_what_went_wrong_with_one_of_many_is_told(world: World) -> None:
    stub = world.stub()
    world.dispatcher.auto = lambda call: call.succeed(1)
    await put(stub, {"a": {"call": "x.a"}}, inputs={"n": {"type": "integer"}})
    run = await begin(stub, {"n": 1})
    await ended(stub, run.id)
    await put(stub, {"a": {"call": "x.a"}})

    [outcome] = (await stub.RerunRuns(pb.RerunRunsRequest(filter=pb.RunFilter(workflow="flow")))).outcomes

    # It is pinned to its version, which still has the input.
    assert outcome.new_run_id
    assert not outcome.HasField("error")


async def test_many_runs_are_taken_so_many_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_RUNS", 2)
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    runs = [(await begin(stub)).id for _ in range(5)]
    request = pb.CancelRunsRequest(filter=pb.RunFilter(workflow="flow"))

    answers = [await stub.CancelRuns(request) for _ in range(4)]

    assert [[outcome.run_id for outcome in answer.outcomes] for answer in answers] == [runs[:2:-1], runs[2:0:-1], runs[:1], []]
    assert [answer.more for answer in answers] == [True, True, False, False]
    for run in runs:
        await ended(stub, run)
    again = pb.RerunRunsRequest(filter=pb.RunFilter(workflow="flow", states=[pb.RUN_STATE_CANCELLED]), request_id="again")
    first = await stub.RerunRuns(again)
    for outcome in first.outcomes:
        await cancelled(stub, outcome.new_run_id)
    assert await stub.RerunRuns(again) == first
    assert first.more
