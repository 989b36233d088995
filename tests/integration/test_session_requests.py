"""Requests over a session from the side of who makes them: what a session cannot do, goes by itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic_settings import SettingsConfigDict

from parade.v1 import scheduler_pb2 as pb
from parade.v1 import scheduler_pb2_grpc
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.tls import server_credentials
from parade_chassis.config import ServiceConfig
from parade_chassis.server import running
from parade_chassis.sessions import SessionServicer
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.session_requests import session_client
from tests.support.waiting import eventually


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


class Scheduler(SessionServicer, scheduler_pb2_grpc.SchedulerServiceServicer):
    """Names itself in what it starts, or refuses."""

    def __init__(self, name: str = "only") -> None:
        self.name = name
        self.refusal: ParadeError | None = None
        self.pause = 0.0
        self.by_session: list[float] = []
        """When starts came by session."""
        self.alone: list[float] = []
        """When those must have ended that came by themselves."""

    async def StartRun(self, request: pb.StartRunRequest, context: Any) -> pb.StartRunResponse:
        if context is None:
            self.by_session.append(time.monotonic())
        else:
            self.alone.append(time.monotonic() + context.time_remaining())
        await asyncio.sleep(self.pause)
        if self.refusal is not None:
            raise self.refusal
        return pb.StartRunResponse(run=pb.Run(id=f"{self.name}: {request.workflow}"))

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        return pb.GetRunResponse(run=pb.Run(id=f"{self.name}: {request.run_id}"))

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        for number in (1, 2):
            yield pb.WatchRunResponse(event=pb.RunEvent(sequence=number))


def scheduler(name: str = "only") -> Scheduler:
    return Scheduler(name)  # type: ignore[abstract]  # no more is asked


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def served(authority: Authority, servicer: Scheduler) -> AsyncIterator[str]:
    async with process_of("scheduler", Config, authority) as process, running(process, servicer) as server:
        yield server.address


class Old(grpc.aio.ServerInterceptor):
    """A scheduler as it was before there were sessions; it keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Keeps the method's name."""
        self.asked.append(str(handler_call_details.method).rpartition("/")[2])
        return await continuation(handler_call_details)

    async def start(self, request: pb.StartRunRequest, context: Any) -> pb.StartRunResponse:
        """Starts a run, unless there is no such workflow."""
        if request.workflow == "nope":
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no workflow `nope`")
        return pb.StartRunResponse(run=pb.Run(id=f"old: {request.workflow}"))


@asynccontextmanager
async def served_by_old(authority: Authority, old: Old) -> AsyncIterator[str]:
    handler: Any = grpc.unary_unary_rpc_method_handler(
        old.start,
        pb.StartRunRequest.FromString,
        pb.StartRunResponse.SerializeToString,
    )
    server = grpc.aio.server(interceptors=[old])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("parade.v1.SchedulerService", {"StartRun": handler}),))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(authority.source(Identity.service("scheduler"))))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def start(stub: Any, workflow: str = "flow", timeout: float = 5) -> str:
    return str((await stub.StartRun(pb.StartRunRequest(workflow=workflow), timeout=timeout)).run.id)


async def test_a_service_that_knows_no_sessions_is_asked_for_one_once(authority: Authority) -> None:
    old = Old()
    async with served_by_old(authority, old) as address, session_client(authority, address) as client:
        assert [await start(client.stub) for _ in range(3)] == ["old: flow"] * 3

    assert old.asked == ["Session", "StartRun", "StartRun", "StartRun"]


async def test_requests_that_come_together_to_a_service_without_sessions_all_go_by_themselves(authority: Authority) -> None:
    old = Old()
    async with served_by_old(authority, old) as address, session_client(authority, address) as client:
        ids = await asyncio.gather(*(start(client.stub, f"flow-{number}", 20) for number in range(200)))

    assert ids == [f"old: flow-{number}" for number in range(200)]
    assert (old.asked.count("Session"), old.asked.count("StartRun")) == (1, 200)


async def test_what_a_service_without_sessions_refuses_is_refused(authority: Authority) -> None:
    old = Old()
    async with served_by_old(authority, old) as address, session_client(authority, address) as client:
        for _ in range(2):
            with pytest.raises(ParadeError, match="there is no workflow `nope`") as refused:
                await start(client.stub, "nope")
            assert refused.value.reason is Reason.NOT_FOUND

    assert old.asked == ["Session", "StartRun", "StartRun"]


async def test_a_replica_with_sessions_is_found_beside_one_without(authority: Authority) -> None:
    old, new = Old(), scheduler("new")
    async with served_by_old(authority, old) as first, served(authority, new) as second:
        for _ in range(5):
            async with session_client(authority, f"{first},{second}") as client:
                assert await start(client.stub) == "new: flow"
                assert not client.alone


async def test_what_one_replica_cannot_do_another_does(authority: Authority) -> None:
    first, second = scheduler("first"), scheduler("second")
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(served(authority, one)) for one in (first, second)]
        client = await stack.enter_async_context(session_client(authority, ",".join(addresses)))
        name = (await start(client.stub)).partition(":")[0]
        cut_off, well = (first, second) if name == "first" else (second, first)
        cut_off.refusal = ParadeError(Reason.UNAVAILABLE, "the database cannot be reached")

        assert await start(client.stub) == f"{well.name}: flow"

    assert not well.by_session


async def test_where_no_replica_can_do_it_that_is_said(authority: Authority) -> None:
    only = scheduler()
    only.refusal = ParadeError(Reason.UNAVAILABLE, "the database cannot be reached")
    async with served(authority, only) as address, session_client(authority, address) as client:
        with pytest.raises(ParadeError, match="the database cannot be reached") as failed:
            await start(client.stub)

    assert failed.value.reason is Reason.UNAVAILABLE


async def test_a_refusal_is_an_answer(authority: Authority) -> None:
    only = scheduler()
    only.refusal = ParadeError(Reason.NO_CAPACITY, "enough")
    async with served(authority, only) as address, session_client(authority, address) as client:
        with pytest.raises(ParadeError, match="enough") as refused:
            await start(client.stub)

        assert refused.value.reason is Reason.NO_CAPACITY
        assert not client.alone


async def test_both_ways_together_have_the_time_of_one(authority: Authority) -> None:
    only = scheduler()
    only.refusal, only.pause = ParadeError(Reason.UNAVAILABLE, "not now"), 0.5
    async with served(authority, only) as address, session_client(authority, address) as client:
        with pytest.raises(ParadeError):
            await start(client.stub, timeout=20)

    (came,), (ends,) = only.by_session, only.alone
    assert ends < came + 20 + 0.25  # what gRPC rounds up to is far less; the half second would be more


async def test_who_waits_no_more_ends_the_request(authority: Authority) -> None:
    only = scheduler()
    only.pause = 60
    async with served(authority, only) as address, session_client(authority, address) as client:
        waiting = asyncio.create_task(start(client.stub, timeout=30))
        await eventually(lambda: len(only.by_session) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        await eventually(lambda: client.out == 0)
        assert not client.alone


async def test_the_other_methods_go_by_themselves_and_open_no_session(authority: Authority) -> None:
    async with served(authority, scheduler()) as address, session_client(authority, address) as client:
        assert (await client.stub.GetRun(pb.GetRunRequest(run_id="run-1"))).run.id == "only: run-1"
        events = [one.event.sequence async for one in client.stub.WatchRun(pb.WatchRunRequest())]

        assert events == [1, 2]
        assert client.alone == ["GetRun"]
        assert client.session is None
