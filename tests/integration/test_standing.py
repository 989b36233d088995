"""Whose right ends, it ends for what they have begun too: nothing goes out for their runs, and nothing starts for them by itself."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from parade.client import Mesh, connect
from parade.run import Run
from parade.v1 import scheduler_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.integration.test_access import MeshAuthority
from tests.support.roles import admit
from tests.support.waiting import eventually

FLOW = """
name: {name}
steps:
  before: {{call: tested.echo, with: {{text: a}}}}
  go: {{wait: {{signal: go}}, needs: before}}
  after: {{call: tested.echo, with: {{text: b}}, needs: go}}
"""
STARTED = """
name: {name}
on: {{event: {{type: {type}}}}}
steps:
  only: {{call: tested.echo, with: {{text: a}}}}
"""
ROLES = ("left", "fewer", "revoked", "maker", "stays")
Others = Callable[[Identity], Awaitable[Mesh]]
TWO = """
name: {name}
steps:
  before: {{wait: {{signal: go}}}}
  child: {{run: {child}, needs: before}}
"""


@pytest.fixture
def workflow() -> str:
    return f"standing-{secrets.token_hex(4)}"


@pytest.fixture
async def others(shared_mesh: MeshFile, tmp_path: Path) -> AsyncIterator[Others]:
    """Connects as somebody else, for the test."""
    async with AsyncExitStack() as stack:

        async def connected(identity: Identity) -> Mesh:
            files = MeshAuthority(shared_mesh).files(identity, folder=tmp_path / secrets.token_hex(4))
            theirs = replace(shared_mesh, certificate=str(files.certificate), private_key=str(files.private_key))
            return await stack.enter_async_context(connect(theirs))

        yield connected


async def started_by_key(mesh: MeshFile, key: str, workflow: str) -> str:
    """Starts a run over REST, and returns its id."""
    async with httpx.AsyncClient(base_url=mesh.rest, headers={"authorization": f"Bearer {key}"}, timeout=20) as client:
        answer = await client.post(f"/v1/workflows/{workflow}/runs", json={})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["run"]["id"])


async def waiting(run: Run) -> None:
    """Waits until a run waits for the signal: what came before went well."""

    async def waits() -> bool:
        steps = {step.id: step for step in (await run.get()).steps}
        return steps["before"].state == scheduler_pb2.STEP_STATE_SUCCEEDED

    await eventually(waits, within=20)


async def refused(run: Run) -> ParadeError:
    """Lets a run go on, and returns why it has failed."""
    await run.signal("go")
    with pytest.raises(ParadeError) as caught:
        await run.result(timeout=40)
    return caught.value


async def test_a_run_ends_whose_starter_has_lost_the_right_whichever_way_and_goes_on_where_not(
    mesh: Mesh, shared_mesh: MeshFile, others: Others, workflow: str
) -> None:
    await mesh.put_workflow(FLOW.format(name=workflow))
    left, fewer, revoked, maker, stays = clients = [Identity.client(f"{name}-{secrets.token_hex(3)}") for name in ROLES]
    agent = Identity.agent("cleaner", f"i-{secrets.token_hex(4)}")
    await admit(shared_mesh, *clients)
    meshes = {identity: await others(identity) for identity in (*clients, agent)}
    own, of_maker = await mesh.create_key("standing", "developer"), await meshes[maker].create_key("standing", "developer")
    runs = {identity.uri: mesh.run((await meshes[identity].start(workflow)).id) for identity in (left, fewer, revoked, stays, agent)}
    for made in (own, of_maker):
        runs[f"key:{made.key.id}"] = mesh.run(await started_by_key(shared_mesh, made.secret, workflow))
    for run in runs.values():
        await waiting(run)

    await mesh.revoke_role(left.uri)
    await mesh.grant_role(fewer.uri, "viewer")
    await mesh.revoke(revoked.uri, reason="lost")
    await mesh.revoke(agent.uri, reason="stolen")
    await mesh.revoke_key(own.key.id)
    await mesh.revoke_role(maker.uri)
    kept = runs.pop(stays.uri)
    errors = dict(zip(runs, await asyncio.gather(*map(refused, runs.values())), strict=True))
    steps = [step for run in runs.values() for step in (await run.get()).steps if step.id == "after"]
    await kept.signal("go")

    assert [error.reason for error in errors.values()] == [Reason.PERMISSION_DENIED] * 6
    assert all(starter in error.message for starter, error in errors.items())
    assert all(step.state == scheduler_pb2.STEP_STATE_FAILED for step in steps)
    assert await kept.result(timeout=20) == {}
    repeated = await runs[left.uri].rerun()
    await repeated.signal("go")
    assert await repeated.result(timeout=20) == {}  # by somebody who may


async def test_nothing_starts_by_itself_for_whom_may_start_nothing_any_more(
    mesh: Mesh, shared_mesh: MeshFile, others: Others, workflow: str
) -> None:
    leaver = Identity.client(f"leaver-{secrets.token_hex(3)}")
    await admit(shared_mesh, leaver)
    await (await others(leaver)).put_workflow(STARTED.format(name=f"{workflow}-a", type=workflow))
    await mesh.put_workflow(STARTED.format(name=f"{workflow}-b", type=workflow))

    async def begun(name: str, times: int) -> bool:
        return len(await mesh.runs(workflow=f"{workflow}-{name}")) == times

    await mesh.publish_event(workflow)
    await eventually(lambda: begun("a", 1), within=20)
    await eventually(lambda: begun("b", 1), within=20)
    await mesh.revoke_role(leaver.uri)
    client = await others(leaver)

    async def known() -> bool:
        try:
            await client.start(f"{workflow}-a")
        except ParadeError as error:
            return error.reason is Reason.PERMISSION_DENIED
        return False

    await eventually(known, within=10)
    await mesh.publish_event(workflow)

    await eventually(lambda: begun("b", 2), within=20)  # an event's triggers are seen to by their names
    assert await begun("a", 1)


async def test_policies_forbid_starts_events_and_artifacts(mesh: Mesh, shared_mesh: MeshFile, others: Others, workflow: str) -> None:
    """Of one client alone, so that nobody else in the mesh is concerned."""
    bound = Identity.client(f"bound-{secrets.token_hex(3)}")
    await admit(shared_mesh, bound)
    client = await others(bound)
    await mesh.put_workflow(FLOW.format(name=workflow))
    await mesh.put_workflow(TWO.format(name=f"{workflow}-parent", child=workflow))
    parent = mesh.run((await client.start(f"{workflow}-parent")).id)
    stored = await client.put_artifact(b"words")
    who = f'principal == Parade::Client::"{bound.name}"'
    await mesh.put_policy(
        workflow,
        f'@id("flow") forbid ({who}, action == Parade::Action::"start", resource == Parade::Workflow::"{workflow}");'
        f'@id("topic") forbid ({who}, action == Parade::Action::"publish", resource == Parade::Topic::"{workflow}");'
        f'@id("read") forbid ({who}, action == Parade::Action::"read", resource);'
        f'@id("write") forbid ({who}, action == Parade::Action::"write", resource);',
    )

    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "flow": lambda: client.start(workflow),
        "topic": lambda: client.publish_event(workflow),
        "read": lambda: client.artifact(stored.digest),
        "write": lambda: client.put_artifact(b"new"),
    }
    try:
        errors = {rule: await forbidden(ask) for rule, ask in asked.items()}
        of_parent = await refused(parent)
    finally:
        await mesh.delete_policy(workflow)

    assert all(f"{workflow}@1#{rule}" in error.message for rule, error in errors.items())
    assert (of_parent.reason, f"{workflow}@1#flow" in of_parent.message) == (Reason.PERMISSION_DENIED, True)


async def forbidden(ask: Callable[[], Awaitable[object]]) -> ParadeError:
    """Asks until the policy is known to who answers, and returns what they say then."""
    found: list[ParadeError] = []

    async def is_forbidden() -> bool:
        try:
            await ask()
        except ParadeError as error:
            found.append(error)
        return bool(found)

    await eventually(is_forbidden, within=10)
    assert found[0].reason is Reason.PERMISSION_DENIED
    return found[0]
