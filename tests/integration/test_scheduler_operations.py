"""What can be done with a run that goes on, over real connections: pause, resume, signal, approve."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import approval_pb2 as approvals_pb
from parade.v1 import scheduler_pb2 as pb
from parade.v1.value_pb2 import Value
from parade.wire.errors import Reason
from parade.wire.identity import Identity
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from tests.integration.operations_harness import CHAIN, INPUTS, cancelled, of_kind, outputs, refused, states
from tests.integration.scheduler_harness import CLIENT, World, begin, ended, history, json, put, running_world
from tests.support.waiting import eventually

ADA = Identity.client("ada")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


# ------------------------------------------------------------------------------------------------ pause and resume


async def test_a_paused_run_begins_nothing_until_it_is_resumed(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    run = await begin(stub)
    call = await world.dispatcher.call("a")

    paused = (await stub.PauseRun(pb.PauseRunRequest(run_id=run.id, reason="look first"))).run
    again = (await stub.PauseRun(pb.PauseRunRequest(run_id=run.id))).run
    call.succeed(1)

    async def taken() -> bool:
        return states((await stub.GetRun(pb.GetRunRequest(run_id=run.id))).run)["a"] == "SUCCEEDED"

    await eventually(taken)
    assert (paused.state, again.state) == (pb.RUN_STATE_PAUSED, pb.RUN_STATE_PAUSED)
    assert [call.step for call in world.dispatcher.calls] == ["a"]

    resumed = (await stub.ResumeRun(pb.ResumeRunRequest(run_id=run.id))).run
    assert resumed.state == pb.RUN_STATE_RUNNING
    assert (await stub.ResumeRun(pb.ResumeRunRequest(run_id=run.id))).run.state == pb.RUN_STATE_RUNNING
    (await world.dispatcher.call("b")).succeed(2)
    (await world.dispatcher.call("c")).succeed(3)
    await ended(stub, run.id)
    events = await history(stub, run.id)
    assert [(event.by, event.message) for event in of_kind(events, "RUN_PAUSED")] == [(CLIENT.uri, "look first")]
    assert [event.by for event in of_kind(events, "RUN_RESUMED")] == [CLIENT.uri]


async def test_a_run_that_has_ended_is_neither_paused_nor_resumed(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    run = await begin(stub)
    await cancelled(stub, run.id)

    await refused(stub.PauseRun(pb.PauseRunRequest(run_id=run.id)), Reason.FAILED_PRECONDITION)
    await refused(stub.ResumeRun(pb.ResumeRunRequest(run_id=run.id)), Reason.FAILED_PRECONDITION)
    await refused(stub.PauseRun(pb.PauseRunRequest(run_id="run-none")), Reason.NOT_FOUND)
    await refused(world.stub(Identity.client("dev", "other")).PauseRun(pb.PauseRunRequest(run_id=run.id)), Reason.NOT_FOUND)


async def test_a_developer_lays_hands_on_its_own_runs_and_an_operator_on_everybodys(world: World) -> None:
    stub, gateway = world.stub(), world.stub(Identity.service("gateway"))
    developer, operator = (on_behalf_of("default", "key:0123456789", role) for role in (Role.DEVELOPER, Role.OPERATOR))
    await put(stub, CHAIN, inputs=INPUTS)
    other = (await begin(stub)).id
    own = (await gateway.StartRun(pb.StartRunRequest(workflow="flow"), metadata=developer)).run.id

    for ask, request in (
        (gateway.PauseRun, pb.PauseRunRequest(run_id=other)),
        (gateway.ResumeRun, pb.ResumeRunRequest(run_id=other)),
        (gateway.CancelRun, pb.CancelRunRequest(run_id=other)),
    ):
        error = await refused(ask(request, metadata=developer), Reason.PERMISSION_DENIED)
        assert error.metadata["role"] == "operator"
    await refused(gateway.CancelRun(pb.CancelRunRequest(run_id="run-none"), metadata=developer), Reason.NOT_FOUND)
    await gateway.PauseRun(pb.PauseRunRequest(run_id=own), metadata=developer)
    await gateway.ResumeRun(pb.ResumeRunRequest(run_id=own), metadata=developer)
    await gateway.CancelRun(pb.CancelRunRequest(run_id=own), metadata=developer)
    await gateway.PauseRun(pb.PauseRunRequest(run_id=other), metadata=operator)
    await gateway.CancelRun(pb.CancelRunRequest(run_id=other), metadata=operator)

    assert [(await ended(stub, id)).state for id in (own, other)] == [pb.RUN_STATE_CANCELLED] * 2


# ------------------------------------------------------------------------------------------------ signals

SIGNAL = {"go": {"wait": {"signal": {"name": "go", "schema": {"type": "object", "required": ["n"]}}}}}


async def test_a_signal_lets_the_step_that_waits_for_it_go_on(world: World) -> None:
    stub = world.stub()
    await put(stub, SIGNAL, outputs={"n": "${{ steps.go.output.n }}"})
    run = await begin(stub)

    request = pb.SignalRunRequest(run_id=run.id, name="go", value=json({"n": 5}), request_id="once")
    await stub.SignalRun(request)
    done = await ended(stub, run.id)
    again = (await stub.SignalRun(request)).run

    assert outputs(done) == {"n": 5}
    assert again.last_sequence == done.last_sequence
    [event] = of_kind(await history(stub, run.id), "SIGNAL_RECEIVED")
    assert (event.message, event.by, orjson.loads(event.output.data)) == ("go", CLIENT.uri, {"n": 5})


async def test_a_signal_that_nobody_waits_for_yet_is_kept_once_for_a_request(world: World) -> None:
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a"}, **SIGNAL, "go": {**SIGNAL["go"], "needs": "a"}})
    run = await begin(stub)

    for _ in range(2):
        await stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="go", value=json({"n": 5}), request_id="once"))
    (await world.dispatcher.call("a")).succeed(1)
    await ended(stub, run.id)

    assert len(of_kind(await history(stub, run.id), "SIGNAL_RECEIVED")) == 1


async def test_a_signal_is_known_by_its_request_after_the_scheduler_was_started_again(world: World) -> None:
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a"}})
    run = await begin(stub)
    request = pb.SignalRunRequest(run_id=run.id, name="go", request_id="once")
    await stub.SignalRun(request)
    await world.stop()
    await world.start()

    await stub.SignalRun(request)
    await cancelled(stub, run.id)

    assert len(of_kind(await history(stub, run.id), "SIGNAL_RECEIVED")) == 1


async def test_a_signal_that_does_not_fit_is_refused_and_names_its_faults(world: World) -> None:
    stub = world.stub()
    await put(stub, SIGNAL)
    run = await begin(stub)

    error = await refused(stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="go", value=json({"m": 1}))), Reason.INVALID_ARGUMENTS)
    assert [violation.field for violation in error.violations] == ["value"]
    error = await refused(
        stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="1", request_id="x" * 129, value=Value(data=b"{"))), Reason.INVALID_ARGUMENTS
    )
    assert [violation.field for violation in error.violations] == ["name", "value", "request_id"]
    await cancelled(stub, run.id)
    await refused(stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="go", value=json({"n": 1}))), Reason.FAILED_PRECONDITION)


async def test_a_thousand_signals_are_kept_and_no_more(world: World) -> None:
    stub = world.stub()
    await put(stub, {"a": {"call": "x.a"}})
    run = await begin(stub)
    for _ in range(10):
        await asyncio.gather(*(stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="go")) for _ in range(100)))

    await refused(stub.SignalRun(pb.SignalRunRequest(run_id=run.id, name="go")), Reason.NO_CAPACITY)


# ------------------------------------------------------------------------------------------------ approvals


def approval(**words: Any) -> dict[str, Any]:
    return {"ask": {"wait": {"approval": {"message": "pay ${{ inputs.n }}?", **words}}}}


async def test_an_approval_is_listed_resolved_by_an_approver_and_on_record(world: World) -> None:
    stub, ada = world.stub(), world.stub(ADA)
    await put(stub, approval(approvers=[ADA.uri]), inputs=INPUTS, outputs={"answer": "${{ steps.ask.output }}"})
    run = await begin(stub, {"n": 7})

    [waiting] = (await stub.ListApprovals(pb.ListApprovalsRequest())).approvals
    assert (waiting.run_id, waiting.step, waiting.workflow, waiting.message) == (run.id, "ask", "flow", "pay 7?")
    assert (waiting.state, list(waiting.approvers)) == (approvals_pb.APPROVAL_STATE_PENDING, [ADA.uri])
    assert list((await stub.ListApprovals(pb.ListApprovalsRequest(mine=True))).approvals) == []
    assert len((await ada.ListApprovals(pb.ListApprovalsRequest(mine=True))).approvals) == 1

    request = pb.ResolveApprovalRequest(run_id=run.id, step="ask", approved=True, note="for once")
    assert ADA.uri in str(await refused(stub.ResolveApproval(request), Reason.PERMISSION_DENIED))
    await ada.ResolveApproval(request)
    done = await ended(stub, run.id)
    assert (await ada.ResolveApproval(request)).run.last_sequence == done.last_sequence
    assert outputs(done) == {"answer": {"approved": True, "by": ADA.uri, "note": "for once"}}
    [event] = of_kind(await history(stub, run.id), "TASK_SUCCEEDED")
    assert (event.by, event.message) == (ADA.uri, "for once")
    assert list((await stub.ListApprovals(pb.ListApprovalsRequest())).approvals) == []
    wanted = pb.ListApprovalsRequest(states=[approvals_pb.APPROVAL_STATE_APPROVED], run_id=run.id, workflow="flow")
    [resolved] = (await stub.ListApprovals(wanted)).approvals
    assert (resolved.by, resolved.note) == (ADA.uri, "for once")
    assert resolved.HasField("resolve_time")


async def test_a_rejection_fails_the_step_and_cannot_be_turned_round(world: World) -> None:
    stub = world.stub()
    await put(stub, approval(), inputs=INPUTS)
    run = await begin(stub)

    await stub.ResolveApproval(pb.ResolveApprovalRequest(run_id=run.id, step="ask", note="too much"))
    done = await ended(stub, run.id)

    assert done.state == pb.RUN_STATE_FAILED
    assert "too much" in done.error.message
    turned = stub.ResolveApproval(pb.ResolveApprovalRequest(run_id=run.id, step="ask", approved=True))
    assert "was rejected by" in str(await refused(turned, Reason.FAILED_PRECONDITION))


async def test_an_approval_of_a_run_that_was_cancelled_is_withdrawn(world: World) -> None:
    stub = world.stub()
    await put(stub, approval(), inputs=INPUTS)
    run = await begin(stub)
    await cancelled(stub, run.id)

    late = stub.ResolveApproval(pb.ResolveApprovalRequest(run_id=run.id, step="ask", approved=True))
    assert "nobody waits" in str(await refused(late, Reason.FAILED_PRECONDITION))
    [withdrawn] = (await stub.ListApprovals(pb.ListApprovalsRequest(states=[approvals_pb.APPROVAL_STATE_WITHDRAWN]))).approvals
    assert withdrawn.run_id == run.id


async def test_what_never_asked_for_an_approval_is_not_found(world: World) -> None:
    stub = world.stub()
    await put(stub, CHAIN, inputs=INPUTS)
    run = await begin(stub)

    await refused(stub.ResolveApproval(pb.ResolveApprovalRequest(run_id="run-none", step="a")), Reason.NOT_FOUND)
    await refused(stub.ResolveApproval(pb.ResolveApprovalRequest(run_id=run.id, step="a")), Reason.NOT_FOUND)
    error = await refused(stub.ResolveApproval(pb.ResolveApprovalRequest(task=-1, note="x" * 1001)), Reason.INVALID_ARGUMENTS)
    assert [violation.field for violation in error.violations] == ["run_id", "step", "task", "note"]


async def test_approvals_come_page_by_page(world: World) -> None:
    stub = world.stub()
    await put(stub, approval(), inputs=INPUTS)
    runs = [(await begin(stub)).id for _ in range(5)]

    found: list[str] = []
    request = pb.ListApprovalsRequest(page_size=2)
    while True:
        page = await stub.ListApprovals(request)
        found += [one.run_id for one in page.approvals]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert found == runs
    await refused(stub.ListApprovals(pb.ListApprovalsRequest(page_token="x", workflow="other")), Reason.INVALID_ARGUMENTS)
    mark, _, _ = base64.urlsafe_b64decode(request.page_token + "==").partition(b"\n")
    made_up = base64.urlsafe_b64encode(mark + b"\nnowhere").decode().rstrip("=")
    await refused(stub.ListApprovals(pb.ListApprovalsRequest(page_token=made_up)), Reason.INVALID_ARGUMENTS)
