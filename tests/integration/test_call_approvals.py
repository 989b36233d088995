"""Calls that wait for somebody's approval in a whole mesh: by Python, by REST, by the command line, and as steps of runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.call_options import CallOptions
from parade.client import Mesh, audit_log, connect
from parade.v1.audit_pb2 import ListAuditRequest
from parade.v1.call_approval_pb2 import CallApproval
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.integration.test_access import MeshAuthority
from tests.support.commands import parade
from tests.support.mesh import agent_process, kill, ready, wait_until_back
from tests.support.roles import let_in
from tests.support.waiting import eventually

APPROVER = Identity.client("approver")
POLICY = """
@id("ask") @approval("operator")
forbid (principal, action == Parade::Action::"call", resource == Parade::Function::"tested.note");
@id("nested") @approval("operator")
forbid (principal, action == Parade::Action::"call", resource == Parade::Function::"tested.echo")
when { context.actors.contains(Parade::Agent::"tested") };
@id("never")
forbid (principal, action == Parade::Action::"call", resource == Parade::Function::"tested.lie");
"""
WORKFLOW = """
name: noted
inputs: {folder: {type: string}}
steps:
  write: {call: tested.note, with: {folder: "${{ inputs.folder }}", name: step}}
outputs: {process: "${{ steps.write.output }}"}
"""


@pytest.fixture
async def careful(mesh: Mesh) -> AsyncIterator[Mesh]:
    """The mesh, while it has a policy."""
    async with with_policy(mesh):
        yield mesh


@pytest.fixture
async def approver(shared_mesh: MeshFile, tmp_path: Path) -> AsyncIterator[Mesh]:
    """Another client, who is an operator."""
    async with operator_of(shared_mesh, tmp_path / "approver") as client:
        yield client


@asynccontextmanager
async def with_policy(mesh: Mesh) -> AsyncIterator[None]:
    await mesh.put_policy("careful", POLICY)
    await eventually(lambda: _is_forbidden(mesh))
    yield
    await mesh.delete_policy("careful")

    async def allowed() -> bool:
        return not await _is_forbidden(mesh)

    await eventually(allowed)


async def _is_forbidden(mesh: Mesh) -> bool:
    try:
        await mesh.call("tested.lie")
    except ParadeError as error:
        return error.reason is Reason.PERMISSION_DENIED
    return False


@asynccontextmanager
async def operator_of(mesh: MeshFile, folder: Path) -> AsyncIterator[Mesh]:
    folder.mkdir()
    files = MeshAuthority(mesh).files(APPROVER, folder=folder)
    file = MeshFile(
        folder, mesh.services, mesh.enrolment, mesh.rest, mesh.domain, "default",
        str(files.trust_bundle), str(files.certificate), str(files.private_key), "api-key",
    )  # fmt: skip
    let_in(mesh, APPROVER, role="operator")
    async with connect(file) as client:
        yield client


async def pending(mesh: Mesh, arguments: str) -> CallApproval:
    """Waits until a call with these words in its arguments needs an approval, and returns that. Other tests may have left some."""

    async def found() -> list[CallApproval]:
        return [one for one in await mesh.call_approvals() if arguments in one.arguments]

    async def asked() -> bool:
        return bool(await found())

    await eventually(asked)
    [approval] = await found()
    return approval


async def test_a_call_waits_for_somebody_else(careful: Mesh, approver: Mesh, tmp_path: Path) -> None:
    waiting = asyncio.create_task(careful.call("tested.note", folder=str(tmp_path), name="called"))
    approval = await pending(careful, "called")
    with pytest.raises(ParadeError) as own:
        await careful.approve_call(approval.id)
    assert not (tmp_path / "called.begun").exists()
    await approver.approve_call(approval.id, note="go on")

    assert await waiting > 0
    assert own.value.reason is Reason.PERMISSION_DENIED
    assert (await careful.call_approval(approval.id)).note == "go on"
    entries = await audit_log(careful, "dispatcher").newest(ListAuditRequest(), 100)
    [entry] = [entry for entry in entries if entry.resource == f"call-approvals/{approval.id}"]
    assert (entry.subject, entry.action.rpartition("/")[2]) == (APPROVER.uri, "ResolveCallApproval")


async def test_what_an_agent_calls_for_somebody_says_through_whom(careful: Mesh, approver: Mesh) -> None:
    waiting = asyncio.create_task(careful.call("tested.ask", text="through an agent"))
    approval = await pending(careful, "through an agent")
    table = await asyncio.to_thread(parade, careful.file.folder.parent, "approve")
    await approver.approve_call(approval.id)

    assert await waiting == "through an agent"
    assert approval.principal == (await careful.call_approval(approval.id)).principal != APPROVER.uri
    assert [actor.rpartition("/ns/")[2] for actor in approval.actors] == ["default/agent/tested"]
    assert f"{approval.principal} through tested" in table.stdout


async def test_a_rejected_call_and_one_that_does_not_wait(careful: Mesh, approver: Mesh, tmp_path: Path) -> None:
    options = CallOptions(idempotency_key="note-once", approval="fail")
    with pytest.raises(ParadeError) as first:
        await careful.call("tested.note", folder=str(tmp_path), name="refused", options=options)
    await approver.reject_call(first.value.metadata["approval"], note="no")
    with pytest.raises(ParadeError) as second:
        await careful.call("tested.note", folder=str(tmp_path), name="refused", options=options)

    assert (first.value.reason, second.value.reason) == (Reason.APPROVAL_REQUIRED, Reason.PERMISSION_DENIED)
    assert second.value.message.endswith(": no")
    assert list(tmp_path.glob("*.begun")) == []


async def test_a_step_of_a_run_waits_and_says_for_what(careful: Mesh, approver: Mesh, tmp_path: Path) -> None:
    await careful.put_workflow(WORKFLOW)
    run = await careful.start("noted", folder=str(tmp_path))
    approval = await pending(careful, str(tmp_path))
    assert (approval.run_id, approval.step) == (run.id, "write")
    await approver.approve_call(approval.id)

    assert (await run.result())["process"] > 0
    assert (tmp_path / "step.ended").exists()


async def test_by_rest_and_by_the_command_line(shared_mesh: MeshFile, careful: Mesh, approver: Mesh, tmp_path: Path) -> None:
    keys = [(await careful.create_key(name, "operator")).secret for name in ("asks", "answers")]
    body = {"arguments": {"folder": str(tmp_path), "name": "rest"}, "options": {"callId": "call-by-rest", "approval": "APPROVAL_MODE_FAIL"}}
    async with httpx.AsyncClient(base_url=shared_mesh.rest, timeout=20) as client:
        asks, answers = ({"x-api-key": key} for key in keys)
        refused = await client.post("/v1/functions/tested.note:call", json=body, headers=asks)
        info = refused.json()["error"]["details"][0]
        assert (refused.status_code, info["reason"]) == (409, "APPROVAL_REQUIRED")
        id = info["metadata"]["approval"]

        path = f"/v1/call-approvals/{id}"
        assert (await client.get(path, headers=asks)).json()["approval"]["state"] == "APPROVAL_STATE_PENDING"
        listed = (await client.get("/v1/call-approvals", params={"mine": "true"}, headers=answers)).json()["approvals"]
        assert id in [one["id"] for one in listed]
        assert (await client.post(f"{path}:resolve", json={"approved": True}, headers=asks)).status_code == 403

        table, whole = await _parade(shared_mesh, "approve"), await _parade(shared_mesh, "approve", "--mine", "-o", "json")
        assert id in table.stdout
        [shown] = [one for one in json.loads(whole.stdout) if one.get("id") == id]
        assert shown["arguments"] == json.dumps(body["arguments"], separators=(",", ":"))
        approved = await _parade(shared_mesh, "approve", id, "--note", "by hand")
        assert (approved.returncode, "is approved" in approved.stderr) == (0, True)

        unwilling = await _parade(
            shared_mesh, "call", "tested.note", f"folder={tmp_path}", "name=cli", "--fail-unapproved", "--idempotency-key", "by-cli"
        )
        assert (unwilling.returncode, "APPROVAL_REQUIRED" in unwilling.stderr) == (1, True)

        made = await client.post("/v1/functions/tested.note:call", json=body, headers=asks)
        assert made.status_code == 200
        assert (await client.get(path, headers=asks)).json()["approval"]["note"] == "by hand"


async def _parade(mesh: MeshFile, *arguments: str) -> Any:
    return await asyncio.to_thread(parade, mesh.folder.parent, *arguments)


@pytest.mark.full
async def test_a_step_waits_on_where_the_dispatcher_is_killed_and_where_the_scheduler_is(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh):
        async with connect(own_mesh) as mesh, operator_of(own_mesh, tmp_path / "approver") as approver:
            await ready(mesh, 1)
            async with with_policy(mesh):
                await mesh.put_workflow(WORKFLOW)
                run = await mesh.start("noted", folder=str(tmp_path))
                approval = await pending(approver, str(tmp_path))
                for service in ("dispatcher", "scheduler"):
                    wait_until_back(own_mesh, service, kill(own_mesh, service))
                assert [one.id for one in await approver.call_approvals()] == [approval.id]
                assert not (tmp_path / "step.begun").exists()
                await approver.approve_call(approval.id)

                assert (await asyncio.wait_for(run.result(), 60))["process"] > 0
                assert len((tmp_path / "step.begun").read_text().splitlines()) == 1
