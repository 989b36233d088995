"""Calls whose progress and items are wanted, through a real dispatcher to real agents."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import agent_pb2, call_pb2, dispatcher_pb2, progress_pb2
from parade.v1.value_pb2 import Value
from parade.wire.errors import ParadeError, Reason
from tests.integration.dispatcher_harness import CLIENT, SCHEDULER, Mesh, SessionAgent, TestAgent, call, json, running_mesh, seconds
from tests.support.waiting import eventually

Event = agent_pb2.InvokeStreamResponse


@pytest.fixture(params=[TestAgent, SessionAgent], ids=["invoke", "session"])
async def mesh(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Mesh]:
    async with running_mesh(tmp_path, kind=request.param) as mesh:
        yield mesh


def progress(fraction: float) -> Event:
    return Event(progress=progress_pb2.Progress(fraction=fraction, message="on the way"))


def item(value: Any) -> Event:
    return Event(item=json(value))


def saying(*events: Event) -> Any:
    async def stream(request: agent_pb2.InvokeStreamRequest) -> AsyncIterator[Event]:
        for event in events:
            yield event

    return stream


def saying_then_waiting(*events: Event) -> Any:
    async def stream(request: agent_pb2.InvokeStreamRequest) -> AsyncIterator[Event]:
        for event in events:
            yield event
        await asyncio.Event().wait()

    return stream


def events_of(mesh: Mesh, name: str, **fields: Any) -> Any:
    return mesh.stub().CallStream(dispatcher_pb2.CallStreamRequest(function=name, arguments=json({}), **fields))


async def collected(mesh: Mesh, name: str, **fields: Any) -> tuple[list[Any], ParadeError | None]:
    events = []
    try:
        async for event in events_of(mesh, name, **fields):
            events.append(event)  # noqa: PERF401 - what came before a failure counts
    except ParadeError as error:
        return events, error
    return events, None


def kinds(events: list[Any]) -> list[str]:
    return [event.WhichOneof("event") for event in events]


async def test_items_come_after_the_assignment_in_their_order(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.stream = saying(item(1), progress(0.5), item(2))

    events, error = await collected(mesh, "analyst.items")

    assert error is None
    assert kinds(events) == ["assigned", "item", "progress", "item"]
    assert events[0].assigned.instance_id == agent.id
    assert events[0].assigned.call_id == agent.requests[0].call_id
    assert [event.item.data for event in events if event.HasField("item")] == [b"1", b"2"]
    assert events[2].progress.fraction == 0.5


async def test_a_function_that_is_not_streaming_gives_progress_and_its_result(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.stream = saying(progress(0.5), Event(result=json(3)))

    events, error = await collected(mesh, "analyst.describe")

    assert error is None
    assert kinds(events) == ["assigned", "progress", "result"]
    assert events[-1].result.data == b"3"


async def test_call_points_a_streaming_function_to_call_stream(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    with pytest.raises(ParadeError, match="call it as a stream") as raised:
        await mesh.stub().Call(call("analyst.items"))

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert agent.requests == []


@pytest.mark.parametrize(
    ("name", "events", "message"),
    [
        ("analyst.items", [item("text")], "the item is outside its schema"),
        ("analyst.items", [Event(result=json(1))], "the agent sent a result"),
        ("analyst.describe", [item(1)], "the agent sent an item"),
        ("analyst.describe", [progress(1)], "without a result"),
    ],
)
async def test_what_is_outside_the_contract_is_the_agents_error(mesh: Mesh, name: str, events: list[Event], message: str) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.stream = saying(*events)

    received, error = await collected(mesh, name)

    assert error is not None
    assert error.reason is Reason.AGENT_ERROR
    assert message in error.message
    assert not {"item", "result"} & set(kinds(received))


@pytest.mark.parametrize(
    ("events", "message"), [([Event(result=json(1)), progress(1)], "went on after its result"), ([Event()], "without content")]
)
async def test_what_only_an_agent_without_sessions_can_say_wrong_is_its_error(mesh: Mesh, events: list[Event], message: str) -> None:
    agent = await mesh.agent(kind=TestAgent)
    await mesh.knows(agent)
    agent.stream = saying(*events)

    received, error = await collected(mesh, "analyst.describe")

    assert error is not None
    assert error.reason is Reason.AGENT_ERROR
    assert message in error.message
    assert "result" not in kinds(received)


async def test_a_lost_instance_is_replaced_while_no_item_has_been_passed_on(mesh: Mesh) -> None:
    agents = [await mesh.agent(), await mesh.agent()]
    await mesh.knows(*agents)
    for agent in agents:
        agent.stream = saying_then_waiting(progress(0.1))
    task = asyncio.create_task(collected(mesh, "analyst.items"))
    await eventually(lambda: sum(agent.running for agent in agents) == 1)
    first, second = sorted(agents, key=lambda agent: -agent.running)
    second.stream = saying(item(1))

    await first.lose()

    events, error = await task
    assert error is None
    assigned = [event.assigned for event in events if event.HasField("assigned")]
    assert [each.instance_id for each in assigned] == [first.id, second.id]
    assert assigned[0].call_id == assigned[1].call_id
    assert kinds(events)[-1] == "item"


@pytest.mark.parametrize(("name", "reason"), [("analyst.items", Reason.AGENT_LOST), ("analyst.send-items", Reason.OUTCOME_UNKNOWN)])
async def test_after_an_item_a_lost_instance_ends_the_call(mesh: Mesh, name: str, reason: Reason) -> None:
    agents = [await mesh.agent(), await mesh.agent()]
    await mesh.knows(*agents)
    for agent in agents:
        agent.stream = saying_then_waiting(item(1))
    events = events_of(mesh, name)
    assert kinds([await anext(events), await anext(events)]) == ["assigned", "item"]
    [first] = [agent for agent in agents if agent.running]

    await first.lose()

    with pytest.raises(ParadeError) as raised:
        await anext(events)
    assert raised.value.reason is reason
    assert sum(len(agent.requests) for agent in agents) == 1


async def test_the_deadline_ends_a_stream_that_says_nothing(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.stream = saying_then_waiting()
    started = time.monotonic()

    _, error = await collected(mesh, "analyst.items", timeout=seconds(0.3))

    assert error is not None
    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert 0.29 < time.monotonic() - started < 0.6
    await eventually(lambda: agent.running == 0)


async def test_a_reader_that_goes_away_cancels_the_agent(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.stream = saying_then_waiting(item(1))
    events = events_of(mesh, "analyst.items")
    await anext(events)
    await anext(events)

    await events.aclose()

    await eventually(lambda: agent.running == 0)


async def test_an_agent_does_not_run_ahead_of_a_slow_reader_and_its_place_is_free_at_the_deadline(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=1)
    await mesh.knows(agent)
    sent = 0

    async def endless(request: Any) -> AsyncIterator[Event]:
        nonlocal sent
        padding = Value(data=b"1" * 100_000)
        while True:
            sent += 1
            yield Event(item=padding)

    agent.stream = endless
    events = events_of(mesh, "analyst.items", timeout=seconds(1.5))

    await anext(events)  # and then the reader stalls
    await eventually(lambda: sent > 0)
    await eventually(lambda: agent.running == 0)

    assert sent < 200, "what is under way is bounded by the windows of the call and of the connections"
    assert (await mesh.stub().Call(call())).result.data == b"42"
    await events.aclose()


async def test_progress_that_nobody_reads_gives_way_to_newer_progress(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    told = 0
    goes_on = asyncio.Event()

    async def talkative(request: Any) -> AsyncIterator[Event]:
        nonlocal told
        padding = "1" * 100_000
        while told < 500:
            told += 1
            yield Event(progress=progress_pb2.Progress(fraction=told / 500, message=padding))
        goes_on.set()
        yield Event(result=json(1))

    agent.stream = talkative
    events = events_of(mesh, "analyst.describe")
    await anext(events)
    await goes_on.wait()

    seen = [event async for event in events]

    assert kinds(seen)[-1] == "result"
    assert seen[-2].progress.fraction == 1
    assert len(seen) < 300


async def test_a_session_gives_a_stream_as_its_reader_makes_room(mesh: Mesh) -> None:
    agent = await mesh.agent(kind=SessionAgent)  # of the others gRPC takes some more into its own buffers
    await mesh.knows(agent)
    sent = 0

    async def hundred(request: Any) -> AsyncIterator[Event]:
        nonlocal sent
        for number in range(100):
            sent += 1
            yield item(number)

    agent.stream = hundred
    heard = mesh.session().begin("analyst.items", window=30)
    await eventually(lambda: len(heard.items) == 10)  # of 3 or 4 bytes each

    assert sent <= 12
    heard.grant(10_000)
    result = await heard.result()
    assert not result.HasField("result")
    assert heard.items == [b"%d" % number for number in range(100)]
    assert heard.events[0].instance_id == agent.id


async def test_which_instance_runs_a_step_is_told_where_its_result_does_not_come_soon(mesh: Mesh) -> None:
    agent = await mesh.agent(kind=SessionAgent)
    await mesh.knows(agent)
    session = mesh.session(SCHEDULER)
    origin = call_pb2.CallOrigin(namespace="default", principal=CLIENT.uri, run_id="run-1", step="clean")
    ends = asyncio.Event()

    async def slow(request: Any, context: Any) -> agent_pb2.InvokeResponse:
        await ends.wait()
        return agent_pb2.InvokeResponse(result=json(7))

    quick = session.begin(window=1000, origin=origin)
    assert ((await quick.result()).instance_id, quick.events) == (agent.id, [])
    agent.unary = slow
    lasting = session.begin(window=1000, origin=origin)
    await eventually(lambda: [event.instance_id for event in lasting.events] == [agent.id])
    ends.set()
    assert (await lasting.result()).result.data == b"7"
    assert len(lasting.events) == 1


async def test_a_streaming_function_whose_caller_wants_no_events_is_refused(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    with pytest.raises(ParadeError, match="call it as a stream"):
        await mesh.session().call("analyst.items")
