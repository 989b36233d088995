"""Calls through a real dispatcher to real agents, over mutual TLS.

One file, though a long one: it walks one RPC through every way that it can end.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from parade.v1 import agent_manager_pb2, agent_pb2, dispatcher_pb2
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.identity import Identity
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from tests.integration.dispatcher_harness import (
    CLIENT,
    FUNCTIONS,
    SCHEDULER,
    Mesh,
    SessionAgent,
    TestAgent,
    call,
    never,
    raising,
    restart_manager,
    returning,
    running_mesh,
    seconds,
)
from tests.support.waiting import eventually


@pytest.fixture(params=[TestAgent, SessionAgent], ids=["invoke", "session"])
async def mesh(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Mesh]:
    async with running_mesh(tmp_path, kind=request.param) as mesh:
        yield mesh


async def failure(awaitable: Any) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await awaitable
    return raised.value


async def test_a_call_reaches_the_function_and_says_where_it_belongs(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    response = await mesh.stub().Call(call(arguments={"rows": [1, 2]}))

    assert response.result.data == b"42"
    assert response.instance_id == agent.id
    [request] = agent.requests
    assert request.function == "describe"
    assert request.arguments.data == b'{"rows":[1,2]}'
    assert request.call_id == response.call_id
    assert (request.origin.namespace, request.origin.principal, request.origin.run_id) == ("default", CLIENT.uri, "")


async def test_the_trace_goes_on_to_the_agent(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    trace_id = "0af7651916cd43dd8448eb211c80319c"

    await mesh.stub().Call(call(), metadata=(("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"),))

    assert agent.metadata[0]["traceparent"].split("-")[1] == trace_id


async def test_the_scheduler_says_for_whom_and_for_which_step_it_calls(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    step = dispatcher_pb2.StepReference(run_id="run-1", step="clean", redelivered=True)

    await mesh.stub(SCHEDULER).Call(call(step=step), metadata=on_behalf_of("default", CLIENT.uri))

    origin = agent.requests[0].origin
    assert (origin.namespace, origin.principal, origin.run_id, origin.step) == ("default", CLIENT.uri, "run-1", "clean")


async def test_nobody_but_the_scheduler_names_a_step(mesh: Mesh) -> None:
    error = await failure(mesh.stub().Call(call(step=dispatcher_pb2.StepReference(run_id="run-1", step="clean"))))

    assert error.reason is Reason.PERMISSION_DENIED


async def test_a_developer_cancels_its_own_calls_and_an_operator_everybodys(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    gateway = mesh.stub(Identity.service("gateway"))
    developer, operator = (on_behalf_of("default", "key:0123456789", role) for role in (Role.DEVELOPER, Role.OPERATOR))
    started = dispatcher_pb2.StartCallRequest(function="analyst.describe")
    other = dispatcher_pb2.CancelCallRequest(call_id=(await mesh.stub().StartCall(started)).call.id)
    own = dispatcher_pb2.CancelCallRequest(call_id=(await gateway.StartCall(started, metadata=developer)).call.id)

    error = await failure(gateway.CancelCall(other, metadata=developer))
    await gateway.CancelCall(own, metadata=developer)
    await gateway.CancelCall(other, metadata=operator)

    assert error.reason is Reason.PERMISSION_DENIED
    assert error.metadata == {"role": "operator", "held": "developer"}


async def test_a_redelivered_effect_is_not_called_again(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    step = dispatcher_pb2.StepReference(run_id="run-1", step="send", redelivered=True)

    error = await failure(mesh.stub(SCHEDULER).Call(call("analyst.send", step=step), metadata=on_behalf_of("default", CLIENT.uri)))

    assert error.reason is Reason.OUTCOME_UNKNOWN
    assert agent.requests == []


@pytest.mark.parametrize(
    ("name", "hint"), [("analyst.descrbe", "did you mean analyst.describe?"), ("analyzt.describe", "did you mean analyst.describe?")]
)
async def test_an_unknown_function_is_an_error_at_once(mesh: Mesh, name: str, hint: str) -> None:
    await mesh.answers(mesh.stub(), call(), Reason.NO_CAPACITY)  # the picture is there
    started = time.monotonic()

    error = await failure(mesh.stub().Call(call(name)))

    assert error.reason is Reason.UNKNOWN_FUNCTION
    assert hint in error.message
    assert time.monotonic() - started < 1


async def test_another_namespace_does_not_see_the_function(mesh: Mesh) -> None:
    error = await failure(mesh.stub(Identity.client("dev", "other")).Call(call()))

    assert error.reason is Reason.UNKNOWN_FUNCTION
    assert "did you mean" not in error.message


async def test_a_malformed_name_is_refused(mesh: Mesh) -> None:
    error = await failure(mesh.stub().Call(call("analyst")))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert error.violations[0].field == "function"


async def test_arguments_outside_the_schema_are_refused_before_an_agent_sees_them(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    error = await failure(mesh.stub().Call(call(arguments={"rows": [1, "x", None]})))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert error.violations == (
        Violation("arguments.rows[1]", '"x" is not of type "number"'),
        Violation("arguments.rows[2]", 'null is not of type "number"'),
    )
    assert agent.requests == []


async def test_arguments_of_five_megabytes_are_refused_by_size_and_limit(mesh: Mesh) -> None:
    error = await failure(mesh.stub().Call(call(arguments={"text": "x" * 5_000_000})))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert str(error.violations[0]) == "arguments: is 4.8 MiB; at most 4 MiB can be sent"


async def test_a_paused_agent_takes_no_calls(mesh: Mesh) -> None:
    await mesh.knows(await mesh.agent())
    paused = agent_manager_pb2.Agent(name="analyst", namespace="default", state=agent_manager_pb2.AGENT_STATE_PAUSED, functions=FUNCTIONS)

    mesh.manager.say(paused)

    error = await mesh.answers(mesh.stub(), call(), Reason.NO_CAPACITY)
    assert "paused" in error.message
    assert int(error.metadata["retry_after"]) > 0
    assert error.retryable


async def test_an_agent_without_a_ready_instance_has_no_capacity(mesh: Mesh) -> None:
    await mesh.agent(state="DRAINING")

    error = await mesh.answers(mesh.stub(), call(), Reason.NO_CAPACITY)

    assert "no instance" in error.message
    assert error.metadata["retry_after"]


async def test_calls_wait_while_every_instance_is_full(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=2)
    await mesh.knows(agent)
    agent.unary = never
    stub = mesh.stub()
    running = [asyncio.create_task(stub.Call(call())) for _ in range(2)]
    await eventually(lambda: agent.running == 2)

    waiting = asyncio.create_task(stub.Call(call()))
    hasty = await failure(stub.Call(call(timeout=seconds(0.2))))

    assert hasty.reason is Reason.DEADLINE_EXCEEDED
    assert "waited all that time" in hasty.message
    assert agent.running == 2
    agent.unary = returning(b"1")
    for task in running:
        task.cancel()
    await eventually(lambda: agent.cancelled == 2)
    response = await waiting
    assert response.result.data == b"1"
    assert response.timing.queued.nanos + response.timing.queued.seconds * 1e9 > 0.2e9


async def test_the_callers_limit_ends_a_call_that_does_not_answer_and_cancels_it_at_the_agent(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=1)
    await mesh.knows(agent)
    stub = mesh.stub()
    await stub.Call(call())  # connected
    agent.unary = never
    started = time.monotonic()

    error = await failure(stub.Call(call(timeout=seconds(0.3))))

    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert "0.3 s, the caller's limit" in error.message
    assert 0.29 < time.monotonic() - started < 0.6
    await eventually(lambda: agent.cancelled == 1)


async def test_the_functions_own_limit_ends_a_call(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never

    error = await failure(mesh.stub().Call(call("analyst.quick", timeout=seconds(20))))

    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert "the function's own limit" in error.message


async def test_the_deadline_of_the_rpc_reaches_the_agent(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never

    error = await failure(mesh.stub().Call(call(), timeout=0.3))

    assert error.reason is Reason.DEADLINE_EXCEEDED
    await eventually(lambda: agent.cancelled == 1)


async def test_cancelling_a_call_cancels_it_at_the_agent(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never
    task = asyncio.create_task(mesh.stub().Call(call()))
    await eventually(lambda: agent.running == 1)

    task.cancel()

    await eventually(lambda: agent.cancelled == 1)


async def test_a_pure_call_whose_instance_is_lost_goes_to_another(mesh: Mesh) -> None:
    agents = [await mesh.agent(), await mesh.agent()]
    await mesh.knows(*agents)
    for agent in agents:
        agent.unary = never
    task = asyncio.create_task(mesh.stub().Call(call()))
    await eventually(lambda: sum(agent.running for agent in agents) == 1)
    first, second = sorted(agents, key=lambda agent: -agent.running)
    second.unary = returning(b"7")

    await first.lose()

    response = await task
    assert (response.result.data, response.instance_id) == (b"7", second.id)
    assert first.requests[-1].call_id == second.requests[-1].call_id


async def test_a_pure_call_is_lost_where_no_other_instance_is_left(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never
    task = asyncio.create_task(mesh.stub().Call(call()))
    await eventually(lambda: agent.running == 1)

    await agent.lose()

    error = await failure(task)
    assert error.reason is Reason.AGENT_LOST
    assert error.retryable
    after = await failure(mesh.stub().Call(call()))
    assert after.reason is Reason.NO_CAPACITY
    assert "just failed" in after.message


async def test_an_effect_whose_instance_is_lost_is_not_repeated(mesh: Mesh) -> None:
    agents = [await mesh.agent(), await mesh.agent()]
    await mesh.knows(*agents)
    for agent in agents:
        agent.unary = never
    task = asyncio.create_task(mesh.stub().Call(call("analyst.send")))
    await eventually(lambda: sum(agent.running for agent in agents) == 1)
    [first] = [agent for agent in agents if agent.running]

    await first.lose()

    error = await failure(task)
    assert error.reason is Reason.OUTCOME_UNKNOWN
    assert error.metadata["instance"] == first.id
    assert error.metadata["function"] == "analyst.send"
    assert sum(len(agent.requests) for agent in agents) == 1


async def test_an_effect_that_was_never_sent_goes_to_another_instance(mesh: Mesh) -> None:
    agent = await mesh.agent(state="DEGRADED")
    await mesh.knows(agent)
    unreachable = await mesh.agent(listening=False)
    stub = mesh.stub()

    responses = [await stub.Call(call("analyst.send")) for _ in range(20)]

    assert {response.instance_id for response in responses} == {agent.id}
    assert unreachable.requests == []
    assert len(agent.requests) == 20


async def test_an_effect_that_reached_no_instance_is_lost_and_may_be_sent_again(mesh: Mesh) -> None:
    await mesh.agent(listening=False)

    error = await mesh.answers(mesh.stub(), call("analyst.send"), Reason.AGENT_LOST)

    assert error.retryable


async def test_a_call_refused_by_a_full_instance_goes_to_another(mesh: Mesh) -> None:
    full, free = await mesh.agent(), await mesh.agent()
    await mesh.knows(full, free)
    full.unary = raising(ParadeError(Reason.NO_CAPACITY, "draining"))

    instances = {(await mesh.stub().Call(call("analyst.send"))).instance_id for _ in range(10)}

    assert instances == {free.id}
    free.unary = full.unary
    assert (await failure(mesh.stub().Call(call()))).reason is Reason.NO_CAPACITY


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'"text"', "the result is outside its schema: result:"),
        (b"nonsense", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"1" * 5_000_000, "5,000,000 bytes"),
        (b"1" * 9_000_000, "arge"),  # gRPC and the session each have their own words
    ],
)
async def test_a_result_outside_the_contract_is_the_agents_error(mesh: Mesh, data: bytes, message: str) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = returning(data)

    error = await failure(mesh.stub().Call(call()))

    assert error.reason is Reason.AGENT_ERROR
    assert message in error.message
    assert error.metadata["instance"] == agent.id
    assert len(agent.requests) == 1


async def test_what_an_agent_raises_passes_with_the_facts_of_the_call(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = raising(ParadeError(Reason.AGENT_ERROR, "no such column", metadata={"exception_type": "KeyError"}, retryable=True))

    error = await failure(mesh.stub().Call(call()))

    assert (error.reason, error.message, error.retryable) == (Reason.AGENT_ERROR, "no such column", True)
    assert error.metadata == {
        "exception_type": "KeyError",
        "function": "analyst.describe",
        "instance": agent.id,
        "call_id": agent.requests[0].call_id,
    }


@pytest.mark.parametrize("reason", [Reason.INVALID_ARGUMENTS, Reason.UNKNOWN_FUNCTION])
async def test_an_agents_refusal_passes(mesh: Mesh, reason: Reason) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = raising(ParadeError(reason, "no", violations=[Violation("arguments.rows", "too few")]))

    error = await failure(mesh.stub().Call(call()))

    assert (error.reason, error.violations) == (reason, (Violation("arguments.rows", "too few"),))


async def test_a_failure_of_what_the_function_used_is_the_agents_error_and_is_not_repeated(mesh: Mesh) -> None:
    agent, other = await mesh.agent(), await mesh.agent()
    await mesh.knows(agent, other)
    agent.unary = other.unary = raising(ParadeError(Reason.UNAVAILABLE, "the warehouse is away"))

    error = await failure(mesh.stub().Call(call("analyst.send")))

    assert (error.reason, error.metadata["reason"]) == (Reason.AGENT_ERROR, "UNAVAILABLE")
    assert len(agent.requests) + len(other.requests) == 1


async def test_an_effect_with_a_foreign_connection_failure_counts_as_sent(mesh: Mesh) -> None:
    agents = [await mesh.agent(kind=TestAgent), await mesh.agent(kind=TestAgent)]
    await mesh.knows(*agents)

    async def upstream_is_down(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: ipv4:10.0.0.1:1: refused")

    for agent in agents:
        agent.unary = upstream_is_down

    error = await failure(mesh.stub().Call(call("analyst.send")))

    assert error.reason is Reason.OUTCOME_UNKNOWN
    assert sum(len(agent.requests) for agent in agents) == 1


async def test_an_agent_that_does_not_speak_our_errors_has_failed(mesh: Mesh) -> None:
    agent = await mesh.agent(kind=TestAgent)
    await mesh.knows(agent)

    async def broken(request: Any, context: Any) -> agent_pb2.InvokeResponse:
        await context.abort(grpc.StatusCode.INTERNAL, "boom")
        raise AssertionError

    agent.unary = broken

    error = await failure(mesh.stub().Call(call()))

    assert (error.reason, error.metadata["grpc_code"]) == (Reason.AGENT_ERROR, "INTERNAL")


async def test_calls_go_on_while_the_agent_manager_is_away_and_end_for_who_is_gone_when_it_is_back(mesh: Mesh) -> None:
    agent, other = await mesh.agent(), await mesh.agent()
    await mesh.knows(agent, other)

    await mesh.manager_server.stop(None)

    assert (await mesh.stub().Call(call())).result.data == b"42"
    del mesh.manager.instances[agent.id]
    await restart_manager(mesh)
    await eventually(lambda: bool(mesh.manager.watches))
    agent.requests.clear()
    other.requests.clear()
    for _ in range(20):
        await mesh.stub().Call(call())
    assert (len(agent.requests), len(other.requests)) == (0, 20)


async def test_a_call_on_an_instance_that_is_said_to_be_lost_goes_to_another(mesh: Mesh) -> None:
    agents = [await mesh.agent(), await mesh.agent()]
    await mesh.knows(*agents)
    for agent in agents:
        agent.unary = never
    task = asyncio.create_task(mesh.stub().Call(call()))
    await eventually(lambda: sum(agent.running for agent in agents) == 1)
    first, second = sorted(agents, key=lambda agent: -agent.running)
    second.unary = returning(b"7")

    first.instance.state = agent_manager_pb2.INSTANCE_STATE_LOST
    mesh.manager.say(first.instance)

    assert (await task).instance_id == second.id


async def test_a_call_waits_for_the_first_picture_but_not_for_long(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, syncs=False) as mesh:
        error = await failure(mesh.stub().Call(call(timeout=seconds(0.2))))

        assert error.reason is Reason.UNAVAILABLE
        await eventually(lambda: bool(mesh.manager.watches))
        early = asyncio.create_task(mesh.stub().Call(call()))
        synced = agent_manager_pb2.WatchAgentsResponse(synced=agent_manager_pb2.WatchAgentsResponse.Synced())
        mesh.manager.watches[-1].put_nowait(synced)
        assert (await failure(early)).reason is Reason.NO_CAPACITY
