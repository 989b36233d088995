"""Calls by session through a real dispatcher: what a session carries, what ends it, and whom that harms.

One file, though a long one: it walks one stream through every way that it can end.
"""

import asyncio
import gc
import math
import secrets
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parade.v1 import access_pb2, agent_pb2, call_pb2, dispatcher_pb2_grpc, session_pb2
from parade.wire.certificates import MemorySource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade_dispatcher.attempt import Attempt
from parade_dispatcher.connections import _Delivery
from parade_dispatcher.job import Job
from tests.integration.dispatcher_harness import (
    CLIENT,
    SCHEDULER,
    Mesh,
    Session,
    SessionAgent,
    TestAgent,
    dispatcher_process,
    json,
    never,
    returning,
    running_mesh,
)
from tests.support.certificates import Authority
from tests.support.proxy import proxied
from tests.support.waiting import eventually

Frame = session_pb2.SessionFrame
SLACK = 0.25
"""Seconds that a busy machine may take longer than it should."""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running_mesh(tmp_path, kind=SessionAgent) as mesh:
        yield mesh


async def failure(awaitable: Any) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await awaitable
    return raised.value


class RawSession:
    """A session whose frames the test writes itself."""

    def __init__(self, channel: Channel) -> None:
        stub: Any = dispatcher_pb2_grpc.DispatcherServiceStub(channel.for_stubs())
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._responses = stub.Session(self._written())

    async def _written(self) -> AsyncIterator[Frame]:
        while True:
            yield await self._frames.get()

    def write(self, **fields: Any) -> None:
        self._frames.put_nowait(Frame(**fields))

    async def read(self) -> Frame:
        frame: Frame = await asyncio.wait_for(anext(self._responses), 10)
        return frame

    async def ended(self) -> ParadeError:
        """Reads until the stream ends with an error."""
        try:
            while True:
                await self.read()
        except ParadeError as error:
            return error

    async def opened(self, session_id: str = "s" * 16) -> "RawSession":
        self.write(hello=session_pb2.SessionHello(session_id=session_id))
        assert (await self.read()).hello.session_id == session_id
        return self


async def test_a_call_that_has_ended_leaves_nothing_to_the_garbage_collector(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    session = mesh.session()
    await session.call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await session.call()
        await eventually(lambda: all(not isinstance(kept, (Attempt, Job, _Delivery)) for kept in gc.get_objects()))
    finally:
        gc.enable()


async def test_a_call_says_where_it_belongs_and_where_its_time_went(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    result = await mesh.session().call(arguments={"rows": [1]}, options=call_pb2.CallOptions())

    assert (result.result.data, result.instance_id) == (b"42", agent.id)
    [seen] = [each for each in agent.calls if each.arguments.data == b'{"rows":[1]}']
    assert (seen.function, seen.options.call_id) == ("analyst.describe", result.call_id)
    assert (seen.origin.namespace, seen.origin.principal) == ("default", CLIENT.uri)
    assert 0 < seen.timeout <= 10
    assert 0 < result.transport_us < 10_000_000


async def test_an_instance_may_say_that_it_took_an_age(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.claimed_us = 2**64 - 1

    result = await mesh.session().call()

    assert (result.result.data, result.instance_id) == (b"42", agent.id)
    assert 0 < result.executing_us < 2**64 - 1


async def test_a_call_keeps_the_id_that_its_caller_made(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    result = await mesh.session().call(options=call_pb2.CallOptions(call_id="of-my-own"))

    assert agent.requests[-1].call_id == "of-my-own"
    assert result.call_id == ""


async def test_many_calls_share_one_session_to_an_instance(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=200)
    await mesh.knows(agent)
    session = mesh.session()

    results = await asyncio.gather(*(session.call() for _ in range(300)))

    assert {result.result.data for result in results} == {b"42"}
    assert agent.sessions == 1


async def test_agents_with_and_without_sessions_serve_side_by_side(mesh: Mesh) -> None:
    modern, simple = await mesh.agent(), await mesh.agent(kind=TestAgent)
    await mesh.knows(modern, simple)
    session = mesh.session()

    for agent in (modern, simple):
        result = await session.call(options=call_pb2.CallOptions(labels={"instance": agent.id}))

        assert (result.result.data, result.instance_id) == (b"42", agent.id)


@pytest.mark.parametrize("caller", [CLIENT, Identity.agent("writer", "i9")])
async def test_nobody_forges_whom_a_call_is_for_and_their_session_goes_on(mesh: Mesh, caller: Identity) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    session = mesh.session(caller)

    error = await failure(session.call(origin=call_pb2.CallOrigin(namespace="default", principal=SCHEDULER.uri)))

    assert error.reason is Reason.PERMISSION_DENIED
    assert agent.requests == []
    assert (await session.call()).result.data == b"42"
    assert agent.requests[-1].origin.principal == caller.uri


@pytest.mark.parametrize("caller", [SCHEDULER, Identity.service("gateway")])
async def test_a_scheduler_and_a_gateway_say_whom_a_call_is_for(mesh: Mesh, caller: Identity) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)

    said = access_pb2.ROLE_DEVELOPER if caller is not SCHEDULER else access_pb2.ROLE_UNSPECIFIED
    await mesh.session(caller).call(origin=call_pb2.CallOrigin(namespace="default", principal=CLIENT.uri, role=said))

    origin = agent.requests[-1].origin
    assert (origin.namespace, origin.principal) == ("default", CLIENT.uri)


@pytest.mark.parametrize("role", [access_pb2.ROLE_UNSPECIFIED, access_pb2.ROLE_NONE, access_pb2.ROLE_VIEWER])
async def test_a_gateway_calls_for_nobody_who_may_not(mesh: Mesh, role: access_pb2.Role.ValueType) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    session = mesh.session(Identity.service("gateway"))

    error = await failure(session.call(origin=call_pb2.CallOrigin(namespace="default", principal="key:0123456789", role=role)))

    assert error.reason is Reason.PERMISSION_DENIED
    assert error.metadata["role"] == "developer"
    assert agent.requests == []


async def test_a_scheduler_names_the_step_and_a_redelivered_effect_is_not_called(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    origin = call_pb2.CallOrigin(namespace="default", principal=CLIENT.uri, run_id="run-1", step="clean")
    session = mesh.session(SCHEDULER)

    await session.call(origin=origin, step_redelivered=True)
    error = await failure(session.call("analyst.send", origin=origin, step_redelivered=True))

    assert [(each.origin.run_id, each.origin.step) for each in agent.requests] == [("run-1", "clean")]
    assert error.reason is Reason.OUTCOME_UNKNOWN


async def test_a_recorded_trace_goes_on_under_a_span_of_its_own(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    await mesh.session().call(traceparent=f"00-{trace_id}-{span_id}-01")

    version, seen_trace, seen_span, flags = agent.calls[-1].traceparent.split("-")
    assert (version, seen_trace, flags) == ("00", trace_id, "01")
    assert seen_span != span_id


BROKEN_FRAMES: dict[str, dict[str, Any]] = {
    "results": {"results": [session_pb2.SessionResult(number=1)]},
    "events": {"events": [session_pb2.SessionEvent(number=1)]},
    "a second hello": {"hello": session_pb2.SessionHello(session_id="s" * 16)},
    "too many calls": {"calls": [session_pb2.SessionCall(number=number, function="analyst.describe") for number in range(1, 66)]},
    "too many bytes": {
        "calls": [session_pb2.SessionCall(number=n, function="analyst.describe", arguments=json("x" * 200_000)) for n in (1, 2)]
    },
    "numbers that fall": {"calls": [session_pb2.SessionCall(number=n, function="analyst.describe") for n in (2, 1)]},
    "a cancel of no call": {"cancels": [7]},
    "credits for no call": {"credits": [session_pb2.SessionCredit(number=7, bytes=1)]},
    "an acknowledgement of no call": {"acknowledged": [7]},
    "a timeout that is no time": {"calls": [session_pb2.SessionCall(number=1, function="analyst.describe", timeout=math.nan)]},
}


@pytest.mark.parametrize("broken", BROKEN_FRAMES)
async def test_a_frame_outside_the_protocol_ends_its_session_and_no_other(mesh: Mesh, broken: str) -> None:
    agent = await mesh.agent(max_concurrency=200)
    await mesh.knows(agent)
    agent.unary = never
    good = mesh.session()
    running = good.begin()
    await eventually(lambda: agent.running == 1)
    bad = await RawSession(mesh.channel()).opened()

    bad.write(**BROKEN_FRAMES[broken])

    error = await bad.ended()
    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "rules are broken" in error.message
    await eventually(lambda: agent.running == 1)  # what the bad one had begun is cancelled
    agent.unary = returning(b"1")
    assert (await good.call()).result.data == b"1"
    assert not running.outcome.done()


async def test_bytes_that_are_no_frame_end_their_stream_and_no_other(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    good = mesh.session()
    await good.call()
    channel = mesh.channel()

    async def nonsense() -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff\xff"

    responses = channel.stream_stream("/parade.v1.DispatcherService/Session", None, None)(nonsense())

    with pytest.raises(ParadeError):
        await anext(responses)
    assert (await good.call()).result.data == b"42"


async def test_more_calls_at_once_than_agreed_end_the_session(mesh: Mesh) -> None:
    agent = await mesh.agent(max_concurrency=1)
    await mesh.knows(agent)
    agent.unary = never
    raw = await RawSession(mesh.channel()).opened()

    for first in range(1, 1026, 64):
        raw.write(calls=[session_pb2.SessionCall(number=n, function="analyst.describe") for n in range(first, min(first + 64, 1026))])

    error = await raw.ended()
    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "at most 1024 calls" in error.message
    await eventually(lambda: agent.running == 0)


async def test_a_session_of_another_identity_is_not_resumed(mesh: Mesh) -> None:
    await RawSession(mesh.channel()).opened("shared-by-nobody")
    thief = RawSession(mesh.channel(Identity.client("thief")))

    thief.write(hello=session_pb2.SessionHello(session_id="shared-by-nobody", resume=True))

    assert (await failure(thief.read())).reason is Reason.INVALID_ARGUMENTS


async def test_a_session_ends_with_the_certificate_that_opened_it(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    certificates = mesh.authority.certificates(CLIENT, lifetime=timedelta(seconds=4))
    async with Channel(mesh.address, MemorySource(certificates), Identity.service("dispatcher").server_name) as channel:
        raw = await RawSession(channel).opened()
        raw.write(calls=[session_pb2.SessionCall(number=1, function="analyst.describe")])
        assert (await raw.read()).results[0].result.data == b"42"
        await asyncio.sleep(4)  # until the certificate has ended; nothing else says so

        raw.write(calls=[session_pb2.SessionCall(number=2, function="analyst.describe")])

        error = await raw.ended()
    assert error.reason is Reason.UNAUTHENTICATED
    assert "certificate" in error.message


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (Identity.client("dev", domain="elsewhere.example"), Reason.UNAUTHENTICATED),
        (Identity.service("dispatcher"), Reason.PERMISSION_DENIED),
        (Identity.service("monitor"), Reason.PERMISSION_DENIED),
    ],
)
async def test_who_has_no_business_here_opens_no_session(mesh: Mesh, caller: Identity, reason: Reason) -> None:
    async with Channel(mesh.address, mesh.authority.source(caller), Identity.service("dispatcher").server_name) as channel:
        raw = RawSession(channel)
        raw.write(hello=session_pb2.SessionHello(session_id="s" * 16))

        assert (await failure(raw.read())).reason is reason


async def test_who_shows_a_certificate_of_another_authority_is_not_let_in(mesh: Mesh, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other").certificates(CLIENT, trust_bundle=mesh.authority.trust_bundle)
    async with Channel(mesh.address, MemorySource(stranger), Identity.service("dispatcher").server_name) as channel:
        raw = RawSession(channel)
        raw.write(hello=session_pb2.SessionHello(session_id="s" * 16))

        assert (await failure(raw.read())).reason is Reason.UNAVAILABLE


async def test_cancelling_a_call_ends_it_at_the_agent_and_says_so(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never
    heard = mesh.session().begin()
    await eventually(lambda: agent.running == 1)

    heard.cancel()

    error = await failure(heard.result())
    assert error.reason is Reason.CANCELLED
    assert error.metadata["cancellation"] == "STOPPED"
    assert agent.cancelled == 1


async def test_the_calls_of_a_caller_that_vanishes_are_cancelled_within_two_seconds(mesh: Mesh) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    agent.unary = never
    channel = mesh.channel()
    raw = await RawSession(channel).opened()
    raw.write(calls=[session_pb2.SessionCall(number=number, function="analyst.describe") for number in (1, 2, 3)])
    await eventually(lambda: agent.running == 3)
    started = time.monotonic()

    await channel.close()

    await eventually(lambda: agent.cancelled == 3)
    assert time.monotonic() - started < 2 + SLACK


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.1, 1.0, 3.0, pytest.param(60.0, marks=[pytest.mark.full, pytest.mark.timeout(90)])])
async def test_a_deadline_is_met(mesh: Mesh, limit: float) -> None:
    agent = await mesh.agent()
    await mesh.knows(agent)
    session = mesh.session()
    await session.call()  # connected
    agent.unary = never
    started = time.monotonic()

    error = await failure(session.call("analyst.forever", deadline=limit))

    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert limit - 0.05 <= time.monotonic() - started <= limit + 0.05 + SLACK
    await eventually(lambda: agent.running == 0)


async def test_a_pure_call_whose_instance_is_killed_goes_to_another(mesh: Mesh) -> None:
    agents = [await mesh.agent(), await mesh.agent()]
    await mesh.knows(*agents)
    for agent in agents:
        agent.unary = never
    heard = mesh.session().begin()
    await eventually(lambda: sum(agent.running for agent in agents) == 1)
    first, second = sorted(agents, key=lambda agent: -agent.running)
    second.unary = returning(b"7")

    await first.lose()

    result = await heard.result()
    assert (result.result.data, result.instance_id) == (b"7", second.id)
    assert first.requests[-1].call_id == second.requests[-1].call_id


async def test_calls_of_an_instance_that_is_cut_off_go_to_another_or_end_by_their_deadline(mesh: Mesh) -> None:
    async with proxied() as proxy:

        def behind(port: int) -> int:
            proxy.target = port
            return proxy.port

        agent = await mesh.agent(port=behind)
        await mesh.knows(agent)
        agent.unary = never
        session = mesh.session()
        patient = session.begin()
        started = time.monotonic()
        hasty = session.begin(deadline=0.5)
        await eventually(lambda: agent.running == 2)
        proxy.cut()
        other = await mesh.agent()

        error = await failure(hasty.result())

        assert error.reason is Reason.DEADLINE_EXCEEDED
        assert time.monotonic() - started < 0.5 + 0.1 + SLACK
        assert (await patient.result()).instance_id == other.id
        assert time.monotonic() - started < 8


async def test_two_dispatchers_share_the_agents(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, kind=SessionAgent, dispatchers=2) as mesh:
        agents = [await mesh.agent(), await mesh.agent()]
        for at in (0, 1):
            await mesh.knows(*agents, at=at)
        sessions = [mesh.session(at=at) for at in (0, 1)]

        results = await asyncio.gather(*(session.call() for session in sessions for _ in range(50)))

        assert {result.result.data for result in results} == {b"42"}
        assert [agent.sessions for agent in agents] == [2, 2]


async def test_a_dispatcher_that_is_asked_to_end_lets_its_calls_end_and_takes_no_session(mesh: Mesh) -> None:
    agent = await mesh.agent()
    async with dispatcher_process(mesh) as process:
        await mesh.knows(agent, at=1)
        goes_on = asyncio.Event()

        async def slow(request: Any, context: Any) -> agent_pb2.InvokeResponse:
            await goes_on.wait()
            return agent_pb2.InvokeResponse(result=json(5))

        agent.unary = slow
        heard = mesh.session(at=1).begin()
        await eventually(lambda: agent.running == 1)

        process.terminate()

        await eventually(lambda: refuses_sessions(mesh, at=1))
        health: Any = health_pb2_grpc.HealthStub(mesh.channel(at=1).for_stubs())
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
        goes_on.set()
        assert (await heard.result()).result.data == b"5"
        assert await asyncio.to_thread(process.wait, 15) == 0


async def refuses_sessions(mesh: Mesh, at: int) -> bool:
    raw = RawSession(mesh.channel(at=at))
    raw.write(hello=session_pb2.SessionHello(session_id=secrets.token_hex(16)))
    try:
        await raw.read()
    except ParadeError as error:
        return error.reason is Reason.UNAVAILABLE
    return False


async def test_a_session_moves_to_another_dispatcher_when_its_own_ends(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, kind=SessionAgent, dispatchers=2, drain_timeout=5) as mesh:
        agent = await mesh.agent(max_concurrency=50)
        for at in (0, 1):
            await mesh.knows(agent, at=at)
        link = Link([mesh.channel(at=0), mesh.channel(at=1)], DISPATCHER_SESSION)
        session = Session(link)
        failed: list[Exception] = []
        stopped = asyncio.Event()

        async def load() -> int:
            made = 0
            while not stopped.is_set() or made < 50:
                try:
                    await session.call()
                except Exception as error:  # noqa: BLE001 - counted
                    failed.append(error)
                made += 1
            return made

        tasks = [asyncio.create_task(load()) for _ in range(8)]
        await eventually(lambda: len(agent.requests) > 50)
        await mesh.dispatchers[0].end()
        stopped.set()
        await asyncio.gather(*tasks)
        await link.close()

        assert failed == []
