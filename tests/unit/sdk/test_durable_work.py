"""Turns of durable functions as calls at an instance."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

import parade
from parade.durable.definition import function_of
from parade.function import Function
from parade.hosting.capacity import Capacity
from parade.hosting.contract import functions
from parade.hosting.executor import Executor
from parade.hosting.host import Host
from parade.hosting.observer import Observer
from parade.v1 import session_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.telemetry import Telemetry
from tests.support.exchange import KeepingExchange


@parade.workflow
async def trip(ctx: parade.WorkflowContext, city: str) -> str:
    """Books a trip."""
    if city == "nowhere":
        raise KeyError(city)
    hotel = await ctx.call("hotel.book", city=city)
    return f"{hotel} in {city}"


async def _double(number: int) -> int:
    return 2 * number


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    with Telemetry("tested", "i1") as telemetry:
        log = Log(level="error")
        host = Host("travel", Capacity(2), Deadlines(), Observer(telemetry, log), log)
        made = Executor({"trip": function_of(trip), "double": Function.of(_double, name="double", effect="pure")}, host)
        yield made
        await made.close()


async def turn(executor: Executor, journal: list[Any], *, run_id: str = "run-1", city: Any = "Rome", **others: Any) -> Any:
    call = session_pb2.SessionCall(function="travel.trip", timeout=5)
    call.arguments.data = orjson.dumps({"arguments": {"city": city}, "journal": journal, "time": 1, **others})
    call.options.call_id = "call-12345"
    call.origin.run_id = run_id
    exchange = KeepingExchange()
    executor.begin(call, exchange)
    return await exchange.value()


async def test_a_turn_is_a_call_that_is_over_when_the_function_waits(executor: Executor) -> None:
    asked = await turn(executor, [])

    [ask] = asked["asks"]
    assert (ask["kind"], ask["name"], ask["arguments"]) == ("CALL", "hotel.book", {"city": "Rome"})
    assert executor.host.capacity.in_flight == 0
    entry = {"kind": "CALL", "name": "hotel.book", "digest": ask["digest"], "state": "SUCCEEDED", "output": "Ritz", "ended": 2}
    assert await turn(executor, [entry]) == {"result": "Ritz in Rome"}
    assert executor.host.capacity.in_flight == 0


async def test_a_call_that_belongs_to_no_run_is_told_to_start_one(executor: Executor) -> None:
    with pytest.raises(ParadeError, match=r"start it as a run, mesh\.start\('travel\.trip', …\)") as raised:
        await turn(executor, [], run_id="")

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert executor.host.capacity.in_flight == 0


async def test_arguments_outside_the_functions_own_schema_are_refused(executor: Executor) -> None:
    with pytest.raises(ParadeError) as raised:
        await turn(executor, [], city=7)

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert raised.value.violations[0].field == "arguments.city"
    assert executor.host.capacity.in_flight == 0


async def test_what_the_function_raises_is_its_failure(executor: Executor) -> None:
    with pytest.raises(ParadeError, match="nowhere") as raised:
        await turn(executor, [], city="nowhere")

    assert raised.value.reason is Reason.AGENT_ERROR
    assert raised.value.metadata["exception_type"] == "KeyError"
    assert executor.host.capacity.in_flight == 0


async def test_code_that_changed_is_a_failure_that_is_not_tried_again(executor: Executor) -> None:
    entry = {"kind": "CALL", "name": "flight.book", "digest": "0", "state": "OPEN"}

    with pytest.raises(ParadeError, match=r"request 1 was a call of `flight\.book`, and now it is a call of `hotel\.book`") as raised:
        await turn(executor, [entry])

    assert raised.value.reason is Reason.AGENT_ERROR
    assert raised.value.metadata["exception_type"] == "NondeterminismError"
    assert not raised.value.retryable


def test_it_is_registered_as_what_it_is() -> None:
    [durable, plain] = functions([function_of(trip), Function.of(_double, name="double")])

    assert durable.durable
    assert not plain.durable
