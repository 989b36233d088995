"""Many calls in one request."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import agent_pb2, dispatcher_pb2, error_pb2
from parade.wire.errors import ParadeError, Reason
from tests.integration.dispatcher_harness import Mesh, SessionAgent, call, json, never, returning, running_mesh, seconds
from tests.support.waiting import eventually


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running_mesh(tmp_path, kind=SessionAgent) as mesh:
        yield mesh


def batch(*calls: dispatcher_pb2.CallRequest) -> dispatcher_pb2.BatchCallRequest:
    return dispatcher_pb2.BatchCallRequest(calls=calls)


async def test_the_outcomes_stand_in_the_order_of_the_calls(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=50)
    await mesh.knows(agent)

    async def last_comes_first(request: Any, context: Any) -> agent_pb2.InvokeResponse:
        [row] = orjson.loads(request.arguments.data)["rows"]
        await asyncio.sleep(0.001 * (20 - row))
        return agent_pb2.InvokeResponse(result=json(row))

    agent.unary = last_comes_first

    response = await mesh.stub().BatchCall(batch(*(call(arguments={"rows": [row]}) for row in range(20))))

    assert [outcome.response.result.data for outcome in response.outcomes] == [b"%d" % row for row in range(20)]
    assert {outcome.response.instance_id for outcome in response.outcomes} == {agent.id}


async def test_one_call_that_fails_does_not_fail_the_others(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    response = await mesh.stub().BatchCall(
        batch(call(), call("nobody.here"), call("malformed"), call(arguments={"rows": "x"}), call("analyst.items"), call())
    )

    kinds = [outcome.WhichOneof("outcome") for outcome in response.outcomes]
    assert kinds == ["response", "error", "error", "error", "error", "response"]
    assert response.outcomes[1].error.reason == error_pb2.ERROR_REASON_UNKNOWN_FUNCTION
    assert {outcome.error.reason for outcome in response.outcomes[2:5]} == {error_pb2.ERROR_REASON_INVALID_ARGUMENTS}


async def test_a_thousand_calls_are_made_at_once(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=64)
    await mesh.knows(agent)

    response = await mesh.stub().BatchCall(batch(*(call() for _ in range(1000))))

    assert [outcome.response.result.data for outcome in response.outcomes] == [b"42"] * 1000


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_of_none_or_too_many_is_refused(mesh: Mesh, count: int) -> None:
    with pytest.raises(ParadeError) as raised:
        await mesh.stub().BatchCall(batch(*(call() for _ in range(count))))

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert raised.value.violations[0].field == "calls"


async def test_each_call_of_a_batch_has_its_own_limit(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never

    response = await mesh.stub().BatchCall(batch(call(timeout=seconds(0.1)), call(timeout=seconds(0.2))))

    assert {outcome.error.reason for outcome in response.outcomes} == {error_pb2.ERROR_REASON_DEADLINE_EXCEEDED}


async def test_a_batch_that_is_cancelled_cancels_its_calls(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never
    task = asyncio.create_task(mesh.stub().BatchCall(batch(call(), call(), call())))
    await eventually(lambda: agent.running == 3)

    task.cancel()

    await eventually(lambda: agent.cancelled == 3)


async def test_results_that_do_not_fit_together_are_errors_of_their_own(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = returning(b"1" + b" " * 3_000_000)

    response = await mesh.stub().BatchCall(batch(call(), call(), call()))

    kinds = sorted(outcome.WhichOneof("outcome") for outcome in response.outcomes)
    assert kinds == ["error", "response", "response"]
    [error] = [outcome.error for outcome in response.outcomes if outcome.HasField("error")]
    assert "make this call alone" in error.message
