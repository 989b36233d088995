"""Calls that wait for somebody's approval, through real dispatchers that share a database, to real agents."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import approval_pb2, call_approval_pb2, call_pb2, dispatcher_pb2
from parade.v1.access_watch_pb2 import PolicyText, WatchAccessResponse
from parade.v1.call_approval_pb2 import APPROVAL_MODE_FAIL, CallApproval
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from tests.integration.dispatcher_harness import CLIENT, SCHEDULER, Mesh, SessionAgent, call, running_dispatcher, running_mesh, seconds
from tests.support.waiting import eventually

OPERATOR = Identity.client("operator")
GATEWAY = Identity.service("gateway")
ASKS = """
@id("ask") @approval("operator")
forbid (principal, action == Parade::Action::"call", resource) when { resource.name == "send" || resource.name == "describe" };
@id("dear") @approval("admin")
forbid (principal, action == Parade::Action::"call", resource == Parade::Function::"analyst.forever");
@id("never")
forbid (principal, action == Parade::Action::"call", resource) when { resource.name == "quick" };
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two dispatchers, an instance, and a policy."""
    async with running_mesh(tmp_path, kind=SessionAgent, dispatchers=2) as mesh:
        agent = await mesh.agent()
        for at in (0, 1):
            await mesh.knows(agent, at=at)
        mesh.manager.say_access(WatchAccessResponse(policy=PolicyText(namespace="default", name="careful", version=3, text=ASKS)))
        for at in (0, 1):
            await forbidden(mesh, at)
        yield mesh


async def forbidden(mesh: Mesh, at: int) -> None:
    """Waits until a dispatcher knows of the policy."""

    async def refused() -> bool:
        try:
            await mesh.stub(at=at).Call(call("analyst.quick"))
        except ParadeError as error:
            return error.reason is Reason.PERMISSION_DENIED
        return False

    await eventually(refused)


async def asked(mesh: Mesh, at: int = 0, count: int = 1) -> CallApproval:
    """Waits until so many calls wait for an approval, and returns the last."""
    stub = mesh.stub(OPERATOR, at)

    async def listed() -> list[CallApproval]:
        return list((await stub.ListCallApprovals(call_approval_pb2.ListCallApprovalsRequest())).approvals)

    async def enough() -> bool:
        return len(await listed()) >= count

    await eventually(enough)
    return (await listed())[-1]


async def resolve(
    mesh: Mesh, approval: CallApproval, *, who: Identity = OPERATOR, at: int = 0, approved: bool = True, **fields: Any
) -> Any:
    request = call_approval_pb2.ResolveCallApprovalRequest(approval_id=approval.id, approved=approved, **fields)
    return (await mesh.stub(who, at).ResolveCallApproval(request)).approval


async def failure(awaitable: Any) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await awaitable
    return raised.value


async def test_a_call_waits_until_an_operator_approves_it_at_any_dispatcher(mesh: Mesh) -> None:
    for at in (0, 1):
        waiting = asyncio.create_task(mesh.session().call("analyst.describe", {"rows": [at]}))
        approval = await asked(mesh)
        assert (approval.function, approval.arguments, approval.principal) == ("analyst.describe", f'{{"rows":[{at}]}}', CLIENT.uri)
        assert list(approval.rules) == ["careful@3#ask"]

        resolved = await resolve(mesh, approval, at=at, note="well")

        assert (await asyncio.wait_for(waiting, 5)).result.data == b"42"
        assert (resolved.state, resolved.by, resolved.note) == (approval_pb2.APPROVAL_STATE_APPROVED, OPERATOR.uri, "well")


async def test_a_rejected_call_ends_with_what_was_said(mesh: Mesh) -> None:
    waiting = asyncio.create_task(mesh.stub().Call(call("analyst.send")))
    await resolve(mesh, await asked(mesh), at=1, approved=False, note="not today")

    error = await failure(asyncio.wait_for(waiting, 5))

    assert error.reason is Reason.PERMISSION_DENIED
    assert error.message.endswith(f"{OPERATOR.uri} has rejected it: not today")


async def test_who_called_cannot_approve_whatever_its_role(mesh: Mesh) -> None:
    waiting = asyncio.create_task(mesh.stub().Call(call()))
    approval = await asked(mesh)

    own = await failure(resolve(mesh, approval, who=CLIENT))
    mine = await mesh.stub(CLIENT).ListCallApprovals(call_approval_pb2.ListCallApprovalsRequest(mine=True))
    others = await mesh.stub(OPERATOR).ListCallApprovals(call_approval_pb2.ListCallApprovalsRequest(mine=True))

    assert own.reason is Reason.PERMISSION_DENIED
    assert "cannot resolve it" in own.message
    assert [list(mine.approvals), [one.id for one in others.approvals]] == [[], [approval.id]]
    assert not waiting.done()
    waiting.cancel()


async def test_a_rule_can_ask_for_more_than_an_operator(mesh: Mesh) -> None:
    waiting = asyncio.create_task(mesh.stub().Call(call("analyst.forever")))
    approval = await asked(mesh)
    gateway, request = mesh.stub(GATEWAY), call_approval_pb2.ResolveCallApprovalRequest(approval_id=approval.id, approved=True)
    operator, admin = (on_behalf_of("default", "key:0123456789", role) for role in (Role.OPERATOR, Role.ADMIN))
    listed = call_approval_pb2.ListCallApprovalsRequest(mine=True)

    error = await failure(gateway.ResolveCallApproval(request, metadata=operator))
    assert (error.reason, error.metadata["role"]) == (Reason.PERMISSION_DENIED, "admin")
    assert [len((await gateway.ListCallApprovals(listed, metadata=who)).approvals) for who in (operator, admin)] == [0, 1]
    await gateway.ResolveCallApproval(request, metadata=admin)
    assert (await asyncio.wait_for(waiting, 5)).result.data == b"42"


async def test_the_gateway_resolves_for_whom_it_has_checked(mesh: Mesh) -> None:
    gateway = mesh.stub(GATEWAY)
    caller, other = on_behalf_of("default", "key:0123456789", Role.ADMIN), on_behalf_of("default", "key:9876543210", Role.OPERATOR)
    waiting = asyncio.create_task(gateway.Call(call(), metadata=caller))
    approval = await asked(mesh)
    request = call_approval_pb2.ResolveCallApprovalRequest(approval_id=approval.id, approved=True)

    own = await failure(gateway.ResolveCallApproval(request, metadata=caller))
    elsewhere = await failure(gateway.ResolveCallApproval(request, metadata=on_behalf_of("other", "key:9876543210", Role.ADMIN)))
    await gateway.ResolveCallApproval(request, metadata=other)

    assert approval.principal == "key:0123456789"
    assert (own.reason, elsewhere.reason) == (Reason.PERMISSION_DENIED, Reason.NOT_FOUND)
    assert (await asyncio.wait_for(waiting, 5)).result.data == b"42"


async def test_a_call_ends_in_time_and_the_same_call_comes_again(mesh: Mesh) -> None:
    options = call_pb2.CallOptions(call_id="call-00000001")
    first = await failure(mesh.stub().Call(call(options=options, timeout=seconds(0.5))))
    assert first.reason is Reason.APPROVAL_REQUIRED
    approval = (
        await mesh.stub(OPERATOR, 1).GetCallApproval(call_approval_pb2.GetCallApprovalRequest(approval_id=first.metadata["approval"]))
    ).approval
    assert (approval.call_id, approval.state) == ("call-00000001", approval_pb2.APPROVAL_STATE_PENDING)

    options.approval = APPROVAL_MODE_FAIL
    at_once = await failure(mesh.stub(at=1).Call(call(options=options)))
    assert (at_once.reason, at_once.metadata["approval"]) == (Reason.APPROVAL_REQUIRED, approval.id)
    await resolve(mesh, approval)

    assert (await mesh.stub(at=1).Call(call(options=options))).result.data == b"42"


async def test_a_gRPC_deadline_leaves_room_for_the_answer(mesh: Mesh) -> None:
    error = await failure(mesh.stub().Call(call(), timeout=1))

    assert error.reason is Reason.APPROVAL_REQUIRED


async def test_what_nobody_may_is_refused_at_once_for_every_kind_of_call(mesh: Mesh) -> None:
    step = dispatcher_pb2.StepReference(run_id="run-1", step="look")
    batch = await mesh.stub().BatchCall(dispatcher_pb2.BatchCallRequest(calls=[call("analyst.quick")]))
    errors = [
        await failure(mesh.stub().Call(call("analyst.quick"))),
        await failure(mesh.session().call("analyst.quick")),
        await failure(mesh.stub().StartCall(dispatcher_pb2.StartCallRequest(function="analyst.quick"))),
        await failure(mesh.stub(SCHEDULER).Call(call("analyst.quick", step=step), metadata=on_behalf_of("default", CLIENT.uri))),
        await failure(mesh.stub(Identity.agent("other", "i1")).Call(call("analyst.quick"))),
    ]

    assert {error.reason for error in errors} == {Reason.PERMISSION_DENIED}
    assert all("careful@3#never" in error.message for error in errors)
    assert "careful@3#never" in batch.outcomes[0].error.message


async def test_a_started_call_waits_for_its_approval_beyond_its_functions_time(mesh: Mesh) -> None:
    started = (await mesh.stub().StartCall(dispatcher_pb2.StartCallRequest(function="analyst.send"))).call
    approval = await asked(mesh)
    assert approval.call_id == started.id
    await resolve(mesh, approval, at=1)

    ended = (await mesh.stub().WaitCall(dispatcher_pb2.WaitCallRequest(call_id=started.id, timeout=seconds(5)))).call

    assert ended.state == call_pb2.CALL_STATE_SUCCEEDED


async def test_a_dispatchers_end_loses_no_approval(mesh: Mesh) -> None:
    scheduler = on_behalf_of("default", CLIENT.uri)
    step = dispatcher_pb2.StepReference(run_id="run-1", step="send")
    options = call_pb2.CallOptions(call_id="step-00000001")
    lost = asyncio.create_task(mesh.stub(SCHEDULER).Call(call("analyst.send", step=step, options=options), metadata=scheduler))
    approval = await asked(mesh, at=1)
    await mesh.dispatchers[0].end()
    with pytest.raises(ParadeError):
        await lost
    await resolve(mesh, approval, at=1)

    async with running_dispatcher(mesh) as _:
        await forbidden(mesh, 2)
        step.redelivered = options.redelivered = True
        answer = await mesh.stub(SCHEDULER, 2).Call(call("analyst.send", step=step, options=options), metadata=scheduler)

    assert answer.result.data == b"42"
    assert (approval.run_id, approval.step) == ("run-1", "send")


async def test_lists_come_in_pages(mesh: Mesh) -> None:
    sending = [asyncio.create_task(mesh.stub().Call(call(arguments={"rows": [number]}))) for number in range(3)]
    await asked(mesh, count=3)
    stub, request = mesh.stub(OPERATOR), call_approval_pb2.ListCallApprovalsRequest(function="analyst.describe", page_size=2)
    first = await stub.ListCallApprovals(request)
    request.page_token = first.next_page_token
    second = await stub.ListCallApprovals(request)
    request.function = "analyst.send"
    error = await failure(stub.ListCallApprovals(request))

    assert [len(first.approvals), len(second.approvals), second.next_page_token] == [2, 1, ""]
    assert len({one.id for one in (*first.approvals, *second.approvals)}) == 3
    assert error.reason is Reason.INVALID_ARGUMENTS
    for one in sending:
        one.cancel()


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"approval_id": ""}, "approval_id"), ({"note": "x" * 1001}, "note"), ({"note": "a\x00"}, "note")],
    ids=["no id", "a long note", "a note that is no text"],
)
async def test_a_bad_request_names_the_field(mesh: Mesh, fields: dict[str, Any], field: str) -> None:
    request = call_approval_pb2.ResolveCallApprovalRequest(**{"approval_id": "approval_1", "approved": True, **fields})
    error = await failure(mesh.stub(OPERATOR).ResolveCallApproval(request))

    assert (error.reason, [violation.field for violation in error.violations]) == (Reason.INVALID_ARGUMENTS, [field])
