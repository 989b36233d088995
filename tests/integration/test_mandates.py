"""Calls that agents make for whoever called them, over a whole mesh: made for that one, as far as that one let them, and no further."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import parade
from parade.call_options import CallOptions
from parade.client import Mesh, audit_log, connect
from parade.context import Context
from parade.v1 import audit_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import MANDATE, MOST_AGENTS, Refusal
from parade.wire.mesh_file import MeshFile
from tests.integration.test_access import MeshAuthority
from tests.support.mesh import ready
from tests.support.roles import let_in
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

FLOW = """
name: told-by-a-run
steps:
  tell:
    call: middle.told
outputs:
  told: ${{ steps.tell.output }}
"""


class Shown:
    """Two agents, one of which calls the other, and what they have seen."""

    def __init__(self) -> None:
        self.middle = parade.Agent("middle", max_concurrency=64)
        self.last = parade.Agent("last", max_concurrency=64)
        self.mandates: list[bytes] = []
        self.seen: list[str] = []
        self.errors: list[ParadeError] = []
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self._define()

    def _define(self) -> None:
        @self.last.function(effect="pure")
        async def whose(context: parade.Context) -> dict[str, str]:
            self.mandates.append(context._mandate)
            self.seen.append(context.principal)
            return {"principal": context.principal, "run": context.run_id, "step": context.step}

        @self.last.function(effect="pure")
        async def on(function: str, context: parade.Context) -> Any:
            return await self._noted(context.call(function))

        @self.middle.function(effect="pure")
        async def told(context: parade.Context) -> Any:
            return await self._noted(context.call("last.whose"))

        @self.middle.function(effect="pure")
        def told_in_a_thread(context: parade.Context) -> Any:
            return context.wait(context.call("last.whose"))

        @self.middle.function(effect="pure")
        async def narrowed(to: list[str], function: str, context: parade.Context) -> Any:
            return await context.call("last.on", {"function": function}, options=CallOptions(functions=to))

        @self.middle.function(effect="pure")
        async def by_another(number: int, context: parade.Context) -> Any:
            return await self._noted(_mesh(context).call("last.whose", {}, mandate=self.mandates[number]))

        @self.middle.function(effect="pure")
        async def by_nobody(context: parade.Context) -> Any:
            return await _mesh(context).call("last.whose", {})

        @self.middle.function(effect="pure")
        async def around(turns: int, context: parade.Context) -> int:
            self.seen.append("around")
            return int(await self._noted(context.call("middle.around", turns=turns + 1)))

        @self.middle.function(effect="pure", timeout=60)
        async def later(context: parade.Context) -> Any:
            self.waiting.set()
            await self.go_on.wait()
            return await self._noted(context.call("last.whose"))

    async def _noted(self, call: Any) -> Any:
        try:
            return await call
        except ParadeError as error:
            self.errors.append(error)
            raise

    @property
    def refusal(self) -> str:
        """Why the last call of an agent was refused."""
        assert self.errors[0].reason is Reason.PERMISSION_DENIED
        why = self.errors[0].metadata[MANDATE]
        self.errors.clear()
        return why


def _mesh(context: Context) -> Any:
    """Returns what a context calls others with."""
    return context._mesh()


@pytest.fixture
async def shown(shared_mesh: MeshFile, mesh: Mesh) -> AsyncIterator[Shown]:
    agents = Shown()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agents.middle.serving(shared_mesh))
        await stack.enter_async_context(agents.last.serving(shared_mesh))
        await ready(mesh, 1, "middle")
        await ready(mesh, 1, "last")

        async def reached() -> bool:
            try:
                return bool(await mesh.call("middle.told"))
            except ParadeError:
                return False

        await eventually(reached, within=10)
        agents.seen.clear()
        agents.mandates.clear()
        yield agents


async def failure(awaitable: Any) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await awaitable
    return raised.value


@pytest.mark.parametrize("function", ["middle.told", "middle.told_in_a_thread"])
async def test_what_an_agent_calls_is_called_for_who_called_it(mesh: Mesh, shown: Shown, function: str) -> None:
    told = await mesh.call(function)

    assert told["principal"] == Identity.client("developer").uri
    assert (told["run"], told["step"]) == ("", "")


async def test_an_agent_that_shows_no_mandate_calls_for_itself(mesh: Mesh, shown: Shown) -> None:
    told = await mesh.call("middle.by_nobody")

    assert "/agent/middle/" in told["principal"]


async def test_a_step_s_call_and_what_comes_of_it_belong_to_its_run(mesh: Mesh, shown: Shown) -> None:
    await mesh.put_workflow(FLOW)
    run = await mesh.start("told-by-a-run")

    told = (await run.result(30))["told"]

    assert told == {"principal": Identity.client("developer").uri, "run": run.id, "step": ""}


async def test_a_started_call_and_what_comes_of_it_is_for_who_started_it(mesh: Mesh, shown: Shown) -> None:
    call = await mesh.start_call("middle.told")

    assert (await call.result())["principal"] == Identity.client("developer").uri


async def test_who_calls_says_what_may_come_of_it(mesh: Mesh, shown: Shown) -> None:
    assert await mesh.call("middle.told", options=CallOptions(functions=["last.*"]))
    assert await mesh.call("middle.told", options=CallOptions(functions=["tested.echo", "last.whose"]))
    only = CallOptions(functions=["last.on", "tested.*"])

    error = await failure(mesh.call("middle.told", options=only))

    assert (error.reason, shown.refusal) == (Reason.AGENT_ERROR, Refusal.FUNCTION)
    assert "last.on, tested.*" in error.message
    started = await mesh.start_call("middle.told", options=only)
    await failure(started.result())
    assert shown.refusal == Refusal.FUNCTION


async def test_an_agent_narrows_and_never_widens(mesh: Mesh, shown: Shown) -> None:
    only = CallOptions(functions=["last.on", "last.whose"])
    assert await mesh.call("middle.narrowed", to=["last.*"], function="last.whose", options=only)

    for to, function in (["*"], "tested.identify"), (["last.on"], "last.whose"), (["tested.*"], "last.whose"):
        await failure(mesh.call("middle.narrowed", to=to, function=function, options=only))
        assert shown.refusal == Refusal.FUNCTION


async def test_the_mandate_of_another_agent_is_refused(mesh: Mesh, shown: Shown) -> None:
    await mesh.call("middle.told")

    await failure(mesh.call("middle.by_another", number=0))

    assert shown.refusal == Refusal.HOLDER
    assert len(shown.seen) == 1


async def test_what_is_no_mandate_is_refused_and_stands_in_the_audit_log(mesh: Mesh, shown: Shown) -> None:
    await mesh.call("middle.told")
    start, _, signature = shown.mandates[0].rpartition(b".")
    shown.mandates += [start + b"." + signature[::-1], b"noise"]

    for number, why in (1, {Refusal.SIGNATURE, Refusal.MALFORMED}), (2, {Refusal.MALFORMED}):
        await failure(mesh.call("middle.by_another", number=number))
        assert shown.refusal in why
    assert len(shown.seen) == 1

    async def written() -> bool:
        wanted = audit_pb2.ListAuditRequest(service="dispatcher", kind=audit_pb2.AUDIT_KIND_DENY)
        entries = await audit_log(mesh, "dispatcher").newest(wanted, 50)
        return any("mandate" in entry.facts and "/agent/middle/" in entry.subject for entry in entries)

    await eventually(written, within=15)


async def test_a_client_shows_no_mandate(mesh: Mesh, shown: Shown) -> None:
    await mesh.call("middle.told")

    error = await failure(mesh._caller.call("last.whose", {}, parent_call_id="call-00000001", mandate=shown.mandates[0]))

    assert (error.reason, error.metadata[MANDATE]) == (Reason.PERMISSION_DENIED, Refusal.HOLDER)


async def test_agents_that_call_each_other_in_a_circle_come_to_an_end(mesh: Mesh, shown: Shown) -> None:
    error = await failure(mesh.call("middle.around", turns=1))

    assert shown.seen == ["around"] * MOST_AGENTS
    assert "middle → middle → middle" in shown.errors[0].message
    assert shown.refusal == Refusal.DEPTH
    assert error.reason is Reason.AGENT_ERROR


async def test_who_loses_their_role_has_nothing_more_called_for_them(
    shared_mesh: MeshFile, mesh: Mesh, shown: Shown, tmp_path: Path
) -> None:
    leaver = Identity.client("leaver")
    await asyncio.to_thread(let_in, shared_mesh, leaver, role="developer")
    files = MeshAuthority(shared_mesh).files(leaver, folder=tmp_path)
    theirs = replace(shared_mesh, certificate=str(files.certificate), private_key=str(files.private_key))
    async with connect(theirs) as client:
        call = await client.start_call("middle.later", timeout=60)
        await shown.waiting.wait()
        await mesh.revoke_role(leaver.uri)

        async def heard() -> bool:
            try:
                await client.call("tested.echo", text="")
            except ParadeError as error:
                return error.reason is Reason.PERMISSION_DENIED
            return False

        await eventually(heard, within=15)
        shown.go_on.set()
        await failure(mesh.started_call(call.id).result())

    (error,) = shown.errors
    assert error.reason is Reason.PERMISSION_DENIED
    assert leaver.uri in error.message
    assert shown.seen == []
