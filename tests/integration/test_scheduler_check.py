"""The check of a definition by the scheduler's process: every fault at once, what to write instead, the graph, and nothing stored."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import agent_manager_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.v1.step_kind_pb2 import StepKind
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from tests.integration import scheduler_harness
from tests.integration.scheduler_harness import World, running_world

SOUND = """\
name: flow
description: Gets and tells.
steps:
  get: {call: x.a, description: Gets it., for-each: [1, 2]}
  tell: {call: x.b, needs: get, if: "${{ size(steps.get.output) > 1 }}"}
  always: {call: x.c, needs: [get, tell], if: true}
  poll: {call: x.a, loop: {until: output.done, limit: 9}, compensate: {call: x.b}}
  asked: {wait: {approval: {message: "Send ${{ run.id }}?"}}}
  late: {wait: {timer: 5m}}
  first: {race: [asked, late]}
"""


class AgentManager(scheduler_harness.AgentManager):
    """Tells all functions too."""

    async def ListFunctions(self, request: agent_manager_pb2.ListFunctionsRequest, context: Any) -> agent_manager_pb2.ListFunctionsResponse:
        if request.agent:
            return await super().ListFunctions(request, context)
        entries = [agent_manager_pb2.ListFunctionsResponse.Entry(full_name=name) for name in self.functions]
        return agent_manager_pb2.ListFunctionsResponse(functions=entries)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(scheduler_harness, "AgentManager", AgentManager)
    async with running_world(tmp_path) as world:
        yield world


async def check(world: World, source: str, *, allow_unregistered: bool = False) -> pb.CheckWorkflowResponse:
    request = pb.CheckWorkflowRequest(source=source, allow_unregistered=allow_unregistered)
    response: pb.CheckWorkflowResponse = await world.stub().CheckWorkflow(request)
    return response


async def test_a_sound_definition_has_its_graph_and_is_not_stored(world: World) -> None:
    response = await check(world, SOUND)

    assert (list(response.faults), response.fault_count) == ([], 0)
    assert (response.graph.name, response.graph.description) == ("flow", "Gets and tells.")
    call = StepKind.STEP_KIND_CALL
    assert list(response.graph.steps) == [
        pb.WorkflowStep(id="get", kind=call, call="x.a", description="Gets it.", for_each=True),
        pb.WorkflowStep(id="tell", kind=call, call="x.b", needs=["get"], condition="size(steps.get.output) > 1"),
        pb.WorkflowStep(id="always", kind=call, call="x.c", needs=["get", "tell"], condition="true"),
        pb.WorkflowStep(id="poll", kind=call, call="x.a", loop=True, compensation="x.b"),
        pb.WorkflowStep(id="asked", kind=StepKind.STEP_KIND_APPROVAL, detail="Send ${{ run.id }}?"),
        pb.WorkflowStep(id="late", kind=StepKind.STEP_KIND_TIMER, detail="5m"),
        pb.WorkflowStep(id="first", kind=StepKind.STEP_KIND_RACE, needs=["asked", "late"], race=["asked", "late"]),
    ]
    assert not (await world.stub().ListWorkflows(pb.ListWorkflowsRequest())).workflows


async def test_every_fault_is_told_with_its_line_and_what_to_write_instead(world: World) -> None:
    world.manager.functions = ["x.a", "mailer.send"]
    source = (
        "name: flow\nsteps:\n  a: {call: x.aa, wiht: {}}\n  b:\n    call: mialer.send\n    needs: aa\n"
        "  c: {call: y.z, timeout: soon}\n  d: {call: x.quite-another}\n  e: {call: mialer.send}\n"
        "  f: {call: x.a, compensate: {call: mailer.sent}}\n"
    )

    response = await check(world, source)

    assert [(fault.line, fault.field, fault.hint) for fault in response.faults] == [
        (3, "steps.a.wiht", "did you mean `with`?"),
        (3, "steps.a.call", "did you mean `x.a`?"),
        (5, "steps.b.call", "did you mean `mailer.send`?"),
        (6, "steps.b.needs", "did you mean `a`?"),
        (7, "steps.c.timeout", "write it as 500ms, 2s, 5m or 1h, above zero and at most 366d"),
        (7, "steps.c.call", "known agents: `mailer`, `x`"),
        (8, "steps.d.call", "known of `x`: `x.a`"),
        (9, "steps.e.call", "did you mean `mailer.send`?"),
        (10, "steps.f.compensate.call", "did you mean `mailer.send`?"),
    ]
    assert [fault.description for fault in response.faults][:2] == [
        "there is no word `wiht` here",
        "no agent has registered the function `x.aa`",
    ]
    assert response.fault_count == 9
    assert not response.HasField("graph")


async def test_functions_that_are_not_there_yet_may_be_allowed(world: World) -> None:
    world.manager.functions = []

    missing = await check(world, SOUND)
    allowed = await check(world, SOUND, allow_unregistered=True)

    assert [fault.hint for fault in missing.faults] == ["there is no function yet; start its agent"] * 5
    assert (allowed.fault_count, len(allowed.graph.steps)) == (0, 7)


@pytest.mark.parametrize("source", ["", "name: [", "\x00", "- 1", "a: &a [*a]", "x" * 2_000_000])
async def test_what_is_no_definition_at_all_is_an_answer_too(world: World, source: str) -> None:
    response = await check(world, source)

    assert response.fault_count >= 1
    assert response.faults[0].description


async def test_a_document_of_thousands_of_faults_tells_the_first_and_counts_all(world: World) -> None:
    source = "name: flow\nsteps:\n" + "".join(f"  S{number}: {{call: a, {'x' * 500}: 1}}\n" for number in range(900))

    response = await check(world, source)

    assert (len(response.faults), response.fault_count) == (1_000, 2_700)
    assert response.ByteSize() < 5 * 1024 * 1024


async def test_a_graph_that_is_too_large_for_a_message_is_left_out(world: World) -> None:
    first = [f"a{number:061}" for number in range(300)]
    source = "name: flow\nsteps:\n" + "".join(f"  {step}: {{call: x.a}}\n" for step in first)
    source += f"  b0: {{call: x.a, needs: &all [{', '.join(first)}]}}\n"
    source += "".join(f"  b{number}: {{call: x.a, needs: *all}}\n" for number in range(1, 400))

    response = await check(world, source)

    assert response.fault_count == 0
    assert not response.HasField("graph")


async def test_nobody_else_may_ask(world: World) -> None:
    with pytest.raises(ParadeError) as caught:
        await world.stub(Identity.service("monitor")).CheckWorkflow(pb.CheckWorkflowRequest(source=SOUND))

    assert caught.value.reason is Reason.PERMISSION_DENIED
