"""Replicas of a service over mutual TLS: requests go to another where one is away, and streams of requests are sent as they come."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc, gateway_pb2, gateway_pb2_grpc
from parade.wire.channel import targets
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.replicas import Replicas
from parade.wire.tls import server_credentials
from tests.support.certificates import Authority

DISPATCHER = Identity.service("dispatcher")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    def __init__(self, name: str) -> None:
        self.name = name
        self.refuses = False

    async def GetCall(self, request: Any, context: Any) -> dispatcher_pb2.GetCallResponse:
        if self.refuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such call")
        response = dispatcher_pb2.GetCallResponse()
        response.call.instance_id = self.name
        return response

    async def CallStream(self, request: Any, context: Any) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:
        for _ in range(3):
            response = dispatcher_pb2.CallStreamResponse()
            response.assigned.instance_id = self.name
            yield response


def dispatcher(name: str) -> Dispatcher:
    return Dispatcher(name)  # type: ignore[abstract]  # no more is asked


class Gateway(gateway_pb2_grpc.GatewayServiceServicer):
    """Counts what is put, and refuses a piece that says so."""

    async def PutArtifact(self, requests: Any, context: Any) -> gateway_pb2.PutArtifactResponse:
        size = 0
        async for request in requests:
            if request.data == b"refuse":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full")
            size += len(request.data)
        response = gateway_pb2.PutArtifactResponse()
        response.artifact.size = size
        return response


@asynccontextmanager
async def served(authority: Authority, servicer: Dispatcher | None = None) -> AsyncIterator[str]:
    server = grpc.aio.server()
    dispatcher_pb2_grpc.add_DispatcherServiceServicer_to_server(servicer or dispatcher("only"), server)
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(Gateway(), server)  # type: ignore[abstract]  # no more is asked
    port = server.add_secure_port("127.0.0.1:0", server_credentials(authority.source(DISPATCHER)))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def reached(authority: Authority, addresses: str) -> AsyncIterator[Replicas]:
    replicas = Replicas.at(addresses, authority.source(Identity.client("dev")), DISPATCHER.server_name, peer="dispatcher")
    try:
        yield replicas
    finally:
        await replicas.close()


def nobody() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def answered_by(stub: Any) -> str:
    return str((await stub.GetCall(dispatcher_pb2.GetCallRequest(call_id="x"))).call.instance_id)


def test_addresses_are_told_apart() -> None:
    assert targets("a:1") == ("a:1",)
    assert targets("a:1, b:2,") == ("a:1", "b:2")


async def test_a_request_goes_to_another_where_one_is_away(authority: Authority) -> None:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(served(authority, dispatcher("here")))
        replicas = await stack.enter_async_context(reached(authority, f"{nobody()},{address}"))
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(replicas.for_stubs())

        assert [await answered_by(stub) for _ in range(3)] == ["here"] * 3


async def test_it_stays_with_one_until_that_is_away(authority: Authority) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        addresses = [
            await first.enter_async_context(served(authority, dispatcher("first"))),
            await stack.enter_async_context(served(authority, dispatcher("second"))),
        ]
        replicas = await stack.enter_async_context(reached(authority, ",".join(addresses)))
        replicas._at = 0
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(replicas.for_stubs())

        assert {await answered_by(stub) for _ in range(3)} == {"first"}
        await first.aclose()
        assert {await answered_by(stub) for _ in range(3)} == {"second"}


async def test_where_all_are_away_it_says_so(authority: Authority) -> None:
    async with reached(authority, f"{nobody()},{nobody()}") as replicas:
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(replicas.for_stubs())

        with pytest.raises(ParadeError, match="dispatcher cannot be reached") as failed:
            await answered_by(stub)
    assert failed.value.reason is Reason.UNAVAILABLE


async def test_an_answer_is_an_answer(authority: Authority) -> None:
    refusing, other = dispatcher("refusing"), dispatcher("other")
    refusing.refuses = True
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(served(authority, one)) for one in (refusing, other)]
        replicas = await stack.enter_async_context(reached(authority, ",".join(addresses)))
        replicas._at = 0

        with pytest.raises(ParadeError, match="no such call"):
            await answered_by(dispatcher_pb2_grpc.DispatcherServiceStub(replicas.for_stubs()))


async def test_a_stream_that_breaks_goes_elsewhere_when_it_is_opened_again(authority: Authority) -> None:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(served(authority, dispatcher("here")))
        replicas = await stack.enter_async_context(reached(authority, f"{nobody()},{address}"))
        replicas._at = 0
        stub: Any = dispatcher_pb2_grpc.DispatcherServiceStub(replicas.for_stubs())

        with pytest.raises(ParadeError):
            [one async for one in stub.CallStream(dispatcher_pb2.CallStreamRequest())]
        said = [one.assigned.instance_id async for one in stub.CallStream(dispatcher_pb2.CallStreamRequest())]

    assert said == ["here"] * 3


async def pieces(*contents: bytes) -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
    for content in contents:
        yield gateway_pb2.PutArtifactRequest(data=content)


async def test_a_stream_of_requests_gets_one_response(authority: Authority) -> None:
    async with served(authority) as address, reached(authority, address) as replicas:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(replicas.for_stubs())

        assert (await stub.PutArtifact(pieces(b"12", b"345"))).artifact.size == 5


async def test_a_stream_of_requests_that_is_refused_in_the_middle_says_why(authority: Authority) -> None:
    async def without_end() -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
        while True:
            yield gateway_pb2.PutArtifactRequest(data=b"refuse")

    async with served(authority) as address, reached(authority, address) as replicas:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(replicas.for_stubs())

        for _ in range(50):  # the answer comes before, while and after a write
            with pytest.raises(ParadeError, match="the disk is full") as refused:
                await stub.PutArtifact(without_end())
            assert refused.value.reason is Reason.NO_CAPACITY


async def test_what_the_writer_raises_comes_out(authority: Authority) -> None:
    async def failing() -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
        yield gateway_pb2.PutArtifactRequest(data=b"1")
        raise LookupError("nothing there")

    async with served(authority) as address, reached(authority, address) as replicas:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(replicas.for_stubs())

        with pytest.raises(LookupError, match="nothing there"):
            await stub.PutArtifact(failing())
