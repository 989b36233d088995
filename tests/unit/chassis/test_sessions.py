"""Requests by session: each has around it what every request has, and ends as it would by itself."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import get_current_span
from pydantic_settings import SettingsConfigDict

from parade.v1 import scheduler_pb2, scheduler_pb2_grpc, session_pb2
from parade.v1.call_pb2 import CallOrigin
from parade.v1.session_pb2 import SessionCall, SessionFrame, SessionHello, SessionResult
from parade.v1.value_pb2 import Value
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.identity import Identity, Kind
from parade.wire.peer import NOBODY
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import PROTOBUF, SCHEDULER_SESSION
from parade.wire.session.opener import LostError
from parade.wire.status import from_record
from parade_chassis.config import ServiceConfig
from parade_chassis.context import RequestContext, current
from parade_chassis.interceptors.authorization import AllowList, AuthorizationConcern
from parade_chassis.interceptors.errors import ErrorsConcern
from parade_chassis.interceptors.telemetry import TelemetryConcern
from parade_chassis.lifecycle import Process
from parade_chassis.sessions import Requests
from tests.support.certificates import Authority
from tests.support.memory_stream import MemoryTarget
from tests.support.processes import process_of
from tests.support.virtual_time import in_virtual_time
from tests.support.waiting import eventually

SERVICE = scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"]
ALLOWED: AllowList = {
    f"/{SERVICE.full_name}/{method.name}": frozenset({Kind.GATEWAY if method.name == "CancelRun" else Kind.AGENT})
    for method in SERVICE.methods
}
"""Rows of the test's own: an agent may everything but cancel."""
AGENT = Identity.agent("analyst", "i-1", namespace="sales")
OPENER = RequestContext(SCHEDULER_SESSION, AGENT, AGENT.namespace, AGENT.uri)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REFUSAL = ParadeError(
    Reason.INVALID_ARGUMENTS, "not so", violations=[Violation("inputs.rows", "is missing", 7)], metadata={"limit": "3"}, retryable=True
)


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


class Runs(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers a start as the workflow's name says, and keeps who asked for it."""

    def __init__(self) -> None:
        self.asked: list[RequestContext] = []
        self.traces: list[str] = []
        self.cancelled = 0
        self.release = asyncio.Event()

    async def StartRun(self, request: scheduler_pb2.StartRunRequest, context: Any) -> scheduler_pb2.StartRunResponse:
        self.asked.append(current())
        self.traces.append(f"{get_current_span().get_span_context().trace_id:032x}")
        match request.workflow:
            case "wait":
                await self._released()
            case "fault":
                raise ValueError("the password is swordfish")
            case "late":
                raise TimeoutError
            case "given up":
                raise asyncio.CancelledError
            case "refuse":
                raise REFUSAL
        return scheduler_pb2.StartRunResponse(run=scheduler_pb2.Run(id=f"run of {request.workflow}"))

    async def CancelRun(self, request: scheduler_pb2.CancelRunRequest, context: Any) -> scheduler_pb2.CancelRunResponse:
        raise AssertionError("nobody here may cancel")

    async def _released(self) -> None:
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class World:
    """A service that takes sessions, and one that is open to it."""

    def __init__(self, process: Process[Any]) -> None:
        self.runs = Runs()  # type: ignore[abstract]  # no more is asked
        self.telemetry = TelemetryConcern(process.telemetry)
        authorization = AuthorizationConcern(ALLOWED, {}, process.grants)
        self.requests = Requests(process, self.runs, SERVICE, self.telemetry, authorization, ErrorsConcern(process.log))
        self.opener = OPENER
        self.target = MemoryTarget(self)  # type: ignore[arg-type]  # it asks for no more than `serve`
        self.link = Link([self.target], "/session")  # type: ignore[list-item]
        self.caller = SessionCaller(self.link)

    def serve(
        self, frames: AsyncIterator[SessionFrame], caller: object = None, admit: Callable[[], None] | None = None
    ) -> AsyncGenerator[bytes]:
        return self.requests.serve(frames, self.opener)

    async def start(self, workflow: str, timeout: float = math.inf, **fields: Any) -> str:
        """Starts a run by session and returns its id."""
        return (await self.ask(start(workflow, **fields), timeout)).run.id

    async def ask(self, call: SessionCall, timeout: float = math.inf) -> scheduler_pb2.StartRunResponse:
        result = (await self.caller.call(call, timeout)).result
        assert result.media_type == PROTOBUF
        return scheduler_pb2.StartRunResponse.FromString(result.data)

    def tallied(self) -> set[tuple[Any, ...]]:
        """Returns what was measured since this was asked before: service, method, and whether it failed."""
        points = [point for metric in self.telemetry._durations.read() for point in metric.data.data_points]
        return {tuple((point.attributes or {}).values()) for point in points}


def start(workflow: str, **fields: Any) -> SessionCall:
    request = scheduler_pb2.StartRunRequest(workflow=workflow)
    return SessionCall(function="StartRun", arguments=Value(data=request.SerializeToString(), media_type=PROTOBUF), **fields)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    async with process_of("scheduler", Config, Authority(folder)) as process:
        world = World(process)
        yield world
        await world.link.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def test_many_requests_are_answered_over_one_stream(world: World) -> None:
    ids = await asyncio.gather(*(world.start(f"flow-{number}") for number in range(500)))

    assert ids == [f"run of flow-{number}" for number in range(500)]
    assert len(world.target.streams) == 1


async def test_a_request_is_for_who_opened_the_session(world: World) -> None:
    await world.start("flow")

    (asked,) = world.runs.asked
    assert asked == RequestContext("/parade.v1.SchedulerService/StartRun", AGENT, "sales", AGENT.uri)


async def test_a_method_is_refused_to_those_who_may_not_call_it(world: World) -> None:
    call = SessionCall(function="CancelRun", arguments=Value(media_type=PROTOBUF))

    with pytest.raises(ParadeError, match=r"analyst/i-1 may not call .*CancelRun") as refused:
        await world.ask(call)

    assert refused.value.reason is Reason.PERMISSION_DENIED
    assert world.tallied() == {("parade.v1.SchedulerService", "CancelRun", True)}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("StartRuns", "no method 'StartRuns' takes one request"),
        ("/parade.v1.SchedulerService/StartRun", "no method"),
        ("WatchRun", "no method 'WatchRun' takes one request"),
        ("Session", "no method 'Session' takes one request"),
        ("__init__", "no method"),
        ("", "no method ''"),
    ],
)
async def test_only_methods_with_one_request_and_one_response_are_taken(world: World, function: str, message: str) -> None:
    with pytest.raises(ParadeError, match=message) as refused:
        await world.ask(SessionCall(function=function, arguments=Value(media_type=PROTOBUF)))

    assert refused.value.reason is Reason.INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (Value(data=b"\xff", media_type=PROTOBUF), "the request is no StartRunRequest"),
        (Value(data=b"\x0a\x01\xff", media_type=PROTOBUF), "the request is no StartRunRequest"),
        (Value(data=b'{"workflow": "flow"}'), "media type is ''; only application/protobuf"),
        (Value(data=b"{}", media_type="application/json"), "media type is 'application/json'; only application/protobuf"),
    ],
    ids=["no message", "no text", "no media type", "JSON"],
)
async def test_what_is_no_request_of_the_method_is_refused(world: World, arguments: Value, message: str) -> None:
    with pytest.raises(ParadeError, match=message) as refused:
        await world.ask(SessionCall(function="StartRun", arguments=arguments))

    assert refused.value.reason is Reason.INVALID_ARGUMENTS
    assert not world.runs.asked


async def test_a_request_for_somebody_else_is_refused(world: World) -> None:
    with pytest.raises(ParadeError, match="for nobody else") as refused:
        await world.start("flow", origin=CallOrigin(namespace="other"))

    assert refused.value.reason is Reason.PERMISSION_DENIED
    assert not world.runs.asked


@pytest.mark.parametrize("workflow", ["fault", "late"])
async def test_what_nobody_foresaw_is_masked_and_stands_in_the_log(world: World, workflow: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ParadeError, match="an unexpected fault") as failed:
        await world.start(workflow)

    assert failed.value.reason is Reason.INTERNAL
    assert "swordfish" not in failed.value.message
    incident = failed.value.message.rpartition(" ")[2]
    assert f"incident={incident}" in capsys.readouterr().err


async def test_what_is_given_up_here_may_be_asked_again(world: World) -> None:
    with pytest.raises(ParadeError, match="ask again") as failed:
        await world.start("given up", 10)

    assert failed.value.reason is Reason.UNAVAILABLE


async def test_a_typed_error_arrives_whole(world: World) -> None:
    with pytest.raises(ParadeError, match="not so") as failed:
        await world.start("refuse")

    error = failed.value
    assert (error.reason, error.violations, dict(error.metadata)) == (REFUSAL.reason, REFUSAL.violations, REFUSAL.metadata)
    assert error.retryable


async def test_every_request_is_measured_with_whether_it_failed(world: World) -> None:
    await world.start("flow")
    assert world.tallied() == {("parade.v1.SchedulerService", "StartRun", False)}

    for workflow in ("refuse", "fault"):
        with pytest.raises(ParadeError):
            await world.start(workflow)
        assert world.tallied() == {("parade.v1.SchedulerService", "StartRun", True)}


async def test_each_request_is_in_the_trace_that_it_names(world: World) -> None:
    traces = [TRACE, TRACE[::-1]]

    await asyncio.gather(*(world.start("flow", traceparent=f"00-{trace}-00f067aa0ba902b7-01") for trace in traces))
    await world.start("flow", traceparent="nonsense")

    assert world.runs.traces[:2] == traces
    assert world.runs.traces[2] not in traces


def test_a_request_ends_at_its_deadline(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            with pytest.raises(ParadeError) as late:
                await world.start("wait", 5)
            assert late.value.reason is Reason.DEADLINE_EXCEEDED
            assert not late.value.metadata  # the service said so, not this side
            assert world.runs.cancelled == 1
            assert world.tallied() == {("parade.v1.SchedulerService", "StartRun", True)}

    in_virtual_time(main)


def test_a_request_without_a_deadline_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            waiting = asyncio.create_task(world.start("wait"))
            await asyncio.sleep(1000)
            world.runs.release.set()
            assert await waiting == "run of wait"

    in_virtual_time(main)


async def test_a_request_that_its_opener_cancels_ends(world: World) -> None:
    ended = Ended()
    sent = world.link.send(start("wait"), ended, math.inf)
    await eventually(lambda: len(world.runs.asked) == 1)

    sent.cancel()

    assert from_record((await ended.result).error).reason is Reason.CANCELLED
    await eventually(lambda: world.runs.cancelled == 1)
    assert world.tallied() == {("parade.v1.SchedulerService", "StartRun", True)}


async def test_a_request_that_is_cancelled_in_the_frame_it_comes_with_is_answered(world: World) -> None:
    async def frames() -> AsyncIterator[SessionFrame]:
        yield SessionFrame(hello=SessionHello(session_id="session-of-a-test"))
        yield SessionFrame(calls=[start("wait", number=1), start("flow", number=2)], cancels=[1])
        await asyncio.Event().wait()

    said = world.serve(frames())
    results: list[SessionResult] = []
    async with asyncio.timeout(5):
        while len(results) < 2:
            results.extend(SessionFrame.FromString(await anext(said)).results)
    await said.aclose()

    ends = {result.number: from_record(result.error).reason if result.HasField("error") else None for result in results}
    assert ends == {1: Reason.CANCELLED, 2: None}
    assert len(world.runs.asked) == 1


def test_a_request_whose_opener_went_away_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            ended = Ended()
            world.link.send(start("wait"), ended, math.inf)
            await eventually(lambda: len(world.runs.asked) == 1)
            world.target.acceptor = None
            world.target.break_()
            await eventually(lambda: world.runs.cancelled == 1)
            with pytest.raises(LostError):
                await ended.result

    in_virtual_time(main)


def test_at_the_end_requests_have_their_time_and_what_is_left_may_be_asked_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            waiting = [asyncio.create_task(world.start("wait")) for _ in range(3)]
            await eventually(lambda: len(world.runs.asked) == 3)
            loop = asyncio.get_running_loop()
            began = loop.time()

            await world.requests.drain(30)

            assert loop.time() - began >= 30
            async with asyncio.timeout(1):
                failures = await asyncio.gather(*waiting, return_exceptions=True)
            assert [isinstance(one, ParadeError) and one.reason for one in failures] == [Reason.UNAVAILABLE] * 3
            assert world.runs.cancelled == 3

    in_virtual_time(main)


def test_at_the_end_nothing_is_waited_for_once_every_request_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as world:
            waiting = asyncio.create_task(world.start("wait"))
            await eventually(lambda: len(world.runs.asked) == 1)
            loop = asyncio.get_running_loop()
            began = loop.time()

            draining = asyncio.create_task(world.requests.drain(30))
            await asyncio.sleep(1)
            world.runs.release.set()

            assert await waiting == "run of wait"
            await draining
            assert loop.time() - began < 2

    in_virtual_time(main)


async def test_a_session_ends_with_the_certificate_of_its_opener(world: World) -> None:
    world.opener = replace(OPENER, peer=replace(NOBODY, identity=AGENT, not_after=time.time() - 1))

    with pytest.raises(ParadeError, match="has expired") as refused:
        await world.start("flow", 10)

    assert refused.value.reason is Reason.UNAUTHENTICATED
    assert not world.runs.asked


class Ended:
    """Who waits for the end of one call."""

    def __init__(self) -> None:
        self.result: asyncio.Future[SessionResult] = asyncio.get_running_loop().create_future()

    def answered(self, result: SessionResult) -> None:
        self.result.set_result(result)

    def told(self, event: session_pb2.SessionEvent) -> None:
        raise AssertionError(event)

    def lost(self, error: LostError) -> None:
        self.result.set_exception(error)
