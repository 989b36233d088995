"""A caller that is not believed any more is refused over the connection it has, and what it has open there ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic_settings import SettingsConfigDict

import parade
from parade.hosting.capacity import Capacity
from parade.hosting.enrolment import Joining
from parade.hosting.instance import Instance
from parade.hosting.registration import Registration
from parade.hosting.settings import Settings
from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from parade.wire import open_requests
from parade.wire.certificates import Certificates, MemorySource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade.wire.peer import CERTIFICATE, Refusal
from parade.wire.revocations import Revocation, Revocations
from parade_chassis.clock import SystemClock
from parade_chassis.config import ServiceConfig
from parade_chassis.lifecycle import Process
from parade_chassis.server import running
from tests.integration.sdk_agent_harness import small_mesh
from tests.support.bad_certificates import KINDS, bad
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually

DISPATCHER = Identity.service("dispatcher")
ANN, BOB = Identity.client("ann"), Identity.client("bob")


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Waits in every method, but where it is called `quick`."""

    def __init__(self) -> None:
        self.entered = 0
        self.cancelled = 0

    async def Call(self, request: dispatcher_pb2.CallRequest, context: Any) -> dispatcher_pb2.CallResponse:
        self.entered += 1
        if request.function != "quick":
            await self._wait()
        return dispatcher_pb2.CallResponse()

    async def CallStream(self, request: dispatcher_pb2.CallStreamRequest, context: Any) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:
        self.entered += 1
        yield dispatcher_pb2.CallStreamResponse()
        await self._wait()

    async def _wait(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class World:
    """A service in this process, and callers with connections that stay open."""

    def __init__(self, authority: Authority, process: Process[Any], address: str, servicer: Dispatcher, stack: AsyncExitStack) -> None:
        self.authority = authority
        self.process = process
        self.servicer = servicer
        self.address = address
        self._stack = stack

    def revoke(self, identity: Identity) -> None:
        now = time.time()
        self.process.revocations.add(Revocation(now + 3600, "the laptop was stolen", spiffe_id=identity.uri), now)

    def caller(self, shown: Certificates) -> Any:
        channel = Channel(self.address, MemorySource(shown), DISPATCHER.server_name)
        self._stack.push_async_callback(channel.close)
        return dispatcher_pb2_grpc.DispatcherServiceStub(channel.for_stubs())

    def good(self, identity: Identity, lifetime: timedelta = timedelta(hours=1)) -> Any:
        return self.caller(self.authority.certificates(identity, lifetime=lifetime))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[World]:
    authority, servicer = Authority(folder), Dispatcher()  # type: ignore[abstract]  # no more is asked
    async with (
        process_of("dispatcher", Config, authority) as process,
        running(process, servicer) as server,
        AsyncExitStack() as stack,
    ):
        yield World(authority, process, server.address, servicer, stack)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serving(tmp_path) as made:
        yield made


async def call(stub: Any, function: str) -> None:
    await stub.Call(dispatcher_pb2.CallRequest(function=function), timeout=10)


async def opened(stub: Any) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:
    """Returns a stream that lasts, once it is there."""
    stream: AsyncIterator[dispatcher_pb2.CallStreamResponse] = aiter(stub.CallStream(dispatcher_pb2.CallStreamRequest()))
    await anext(stream)
    return stream


async def refusal(doing: Any) -> str:
    """Returns the rule by which a request was refused."""
    async with asyncio.timeout(10):
        with pytest.raises(ParadeError) as refused:
            await doing
    assert refused.value.reason is Reason.UNAUTHENTICATED
    return refused.value.metadata[CERTIFICATE]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bad_certificate_is_refused_before_the_handler(world: World, kind: str) -> None:
    with pytest.raises(ParadeError) as refused:
        await call(world.caller(bad(kind, world.authority, ANN)), "quick")

    assert refused.value.reason in (Reason.UNAUTHENTICATED, Reason.UNAVAILABLE)  # by us, or at the handshake
    assert world.servicer.entered == 0


async def test_a_revoked_caller_is_refused_over_the_connection_it_has(world: World) -> None:
    ann, bob = world.good(ANN), world.good(BOB)
    await call(ann, "quick")

    world.revoke(ANN)

    assert await refusal(call(ann, "quick")) == Refusal.REVOKED
    assert await refusal(call(world.good(ANN), "quick")) == Refusal.REVOKED
    await call(bob, "quick")
    assert world.servicer.entered == 2


async def test_what_a_revoked_caller_has_open_ends(world: World) -> None:
    ann, bob = world.good(ANN), world.good(BOB)
    stream, others = await opened(ann), await opened(bob)
    async with asyncio.TaskGroup() as tasks:
        question = tasks.create_task(refusal(call(ann, "wait")))
        async with asyncio.timeout(5):
            while world.servicer.entered < 3:
                await asyncio.sleep(0.01)

        world.revoke(ANN)

        assert await refusal(anext(stream)) == Refusal.REVOKED
        assert await question == Refusal.REVOKED
    assert world.servicer.cancelled == 2
    await call(bob, "quick")
    world.revoke(BOB)
    assert await refusal(anext(others)) == Refusal.REVOKED


async def test_a_certificate_that_ends_ends_the_streams_that_it_opened(world: World) -> None:
    ann, bob = world.good(ANN, timedelta(seconds=3)), world.good(BOB)
    stream, others = await opened(ann), await opened(bob)

    assert await refusal(anext(stream)) == Refusal.EXPIRED
    assert await refusal(call(ann, "quick")) == Refusal.EXPIRED  # over the connection it has, which TLS does not look at any more
    assert world.servicer.cancelled == 1
    world.revoke(BOB)
    assert await refusal(anext(others)) == Refusal.REVOKED


async def test_a_ticket_of_an_expired_certificate_opens_nothing(world: World) -> None:
    """TLS takes a session up again without a look at the certificate's time; whoever stole the ticket has the key no more."""
    cygrpc: Any = import_module("grpc._cython.cygrpc")
    shown = world.authority.certificates(ANN, lifetime=timedelta(seconds=3))
    options = [
        ("grpc.ssl_target_name_override", DISPATCHER.server_name),
        ("grpc.ssl_session_cache", cygrpc.SSLSessionCacheLRU(8)),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    credentials = grpc.ssl_channel_credentials(shown.trust_bundle, shown.private_key, shown.certificate_chain)
    ended = asyncio.get_running_loop().time() + 3.1
    codes = []
    for _ in range(2):
        async with grpc.aio.secure_channel(world.address, credentials, options) as channel:
            plain: Any = channel.unary_unary("/parade.v1.DispatcherService/Call")
            codes.append(await plain(dispatcher_pb2.CallRequest(function="quick").SerializeToString(), timeout=5).code())
        await asyncio.sleep(max(0.0, ended - asyncio.get_running_loop().time()))  # until the certificate has ended; nothing else says so

    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


class Ahead(SystemClock):
    """A clock that is as far ahead as a certificate lives, and a little."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=61)


class Counting(Channel):
    """A channel that counts the streams that are opened on it."""

    streams = 0

    def stream_stream(self, *arguments: Any, **more: Any) -> Any:
        opening = super().stream_stream(*arguments, **more)

        def opened(requests: Any) -> Any:
            self.streams += 1
            return opening(requests)

        return opened


async def test_an_instance_stays_who_it_is_when_its_heartbeats_end_with_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_requests, "LONGEST_LOOK", 0.2)
    async with small_mesh(tmp_path) as mesh:
        enrolled = await Joining("clerk", Settings(), lambda: mesh.file, Log()).join(5)
        identity = enrolled.identity
        instance = Instance(identity.instance, "clerk", "127.0.0.1:1", identity.server_name, Capacity(1))
        agent = parade.Agent("clerk")

        @agent.function
        async def echo(text: str) -> str:
            return text

        offer = agent._offer().registration(instance.address)
        server_name = Identity.service("agent_manager").server_name
        async with Counting(mesh.file.services["agent_manager"], enrolled.source, server_name) as channel:
            registration = Registration(channel, offer, instance, lambda: enrolled.over(lambda: mesh.file), Revocations(), Log())
            keeping = asyncio.create_task(registration.keep())
            await instance.wait_until_ready()

            enrolled.source.replace(mesh.authority.certificates(identity, lifetime=timedelta(hours=2)))
            assert mesh._manager_process is not None
            mesh._manager_process.clock = Ahead()

            await eventually(lambda: channel.streams == 2 or keeping.done(), within=10)
            assert not keeping.done()
            mesh._manager_process.clock = SystemClock()
            assert await mesh.states("clerk") == {identity.instance: "READY"}
            keeping.cancel()
