"""Sessions over real connections with mutual TLS: bursts, breaks, frozen peers, drain, renewal, expiry, servers without sessions."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic_settings import SettingsConfigDict

from parade.v1 import dispatcher_pb2_grpc, session_pb2, value_pb2
from parade.wire.certificates import MemorySource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.opener import LostError, Sent
from parade.wire.tls import server_credentials
from parade_chassis.config import ServiceConfig
from parade_chassis.context import current
from parade_chassis.server import running
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.proxy import proxied
from tests.support.waiting import eventually

CLIENT = Identity.client("dev")
DISPATCHER = Identity.service("dispatcher")
PATH = "/parade.v1.DispatcherService/Session"


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


class Server(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers with the arguments; a call of `hold` waits until it is released or cancelled, one of `count` gives items for ever."""

    def __init__(self, **options: Any) -> None:
        self.acceptor = Acceptor(self, **options)
        self.begun = 0
        self.held: list[Exchange] = []
        self.cancelled: list[bool] = []
        self.most = 0
        self.told = 0
        self.streams = 0
        self.refusal: ParadeError | None = None
        self.address = ""

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        self.streams += 1
        async with aclosing(self.acceptor.serve(request_iterator, current().caller, self.admit)) as frames:
            async for frame in frames:
                yield frame

    def admit(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.begun += 1
        match call.function:
            case "echo":
                exchange.answer(session_pb2.SessionResult(result=call.arguments))
            case "count":
                exchange.cancelled, exchange.credited = self.cancelled.append, lambda: self.count(exchange)
                self.count(exchange)
            case "hold":
                self.held.append(exchange)
                self.most = max(self.most, len(self.held))
                exchange.cancelled = lambda gone: self.let_go(exchange, gone)

    def count(self, exchange: Exchange) -> None:
        while exchange.window > 0:
            exchange.tell(session_pb2.SessionEvent(item=value_pb2.Value(data=b"%d" % self.told)))
            self.told += 1

    def let_go(self, exchange: Exchange, gone: bool) -> None:  # noqa: FBT001  # as a handler's callback is
        self.cancelled.append(gone)
        self.held.remove(exchange)
        exchange.answer(session_pb2.SessionResult(call_id="cancelled"))

    def release(self) -> None:
        for exchange in self.held:
            exchange.answer(session_pb2.SessionResult(call_id="released"))
        self.held.clear()


class Receiver:
    """Keeps what becomes of a call."""

    def __init__(self) -> None:
        self.end: asyncio.Future[session_pb2.SessionResult] = asyncio.get_running_loop().create_future()

    def answered(self, result: session_pb2.SessionResult) -> None:
        self.end.set_result(result)

    def told(self, event: session_pb2.SessionEvent) -> None:
        raise AssertionError(event)

    def lost(self, error: LostError) -> None:
        self.end.set_exception(error)


def send(link: Link, function: str = "echo", data: bytes = b"1") -> tuple[Receiver, Sent]:
    receiver = Receiver()
    call = session_pb2.SessionCall(function=function, arguments=value_pb2.Value(data=data))
    return receiver, link.send(call, receiver, math.inf)


async def echo(link: Link, data: bytes = b"1") -> bytes:
    return (await send(link, "echo", data)[0].end).result.data


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def serving(authority: Authority, **options: Any) -> AsyncIterator[Server]:
    server = Server(**options)  # type: ignore[abstract]  # the other methods are not called
    async with process_of("dispatcher", Config, authority, drain_timeout=0.2) as process, running(process, server) as running_server:
        server.address = running_server.address
        yield server


@asynccontextmanager
async def linked(authority: Authority, *addresses: str, source: MemorySource | None = None) -> AsyncIterator[Link]:
    shown = source or authority.source(CLIENT)
    async with AsyncExitStack() as stack:
        channels = [Channel(address, shown, DISPATCHER.server_name, peer="dispatcher") for address in addresses]
        for channel in channels:
            await stack.enter_async_context(channel)
        link = Link(channels, PATH)
        stack.push_async_callback(link.close)
        yield link


def port_of(server: Server) -> int:
    return int(server.address.rpartition(":")[2])


async def test_ten_thousand_calls_at_once_are_all_answered(authority: Authority) -> None:
    async with serving(authority) as server, linked(authority, server.address) as link:
        answers = await asyncio.gather(*(echo(link, b"%d" % number) for number in range(10_000)))

    assert answers == [b"%d" % number for number in range(10_000)]
    assert server.streams == 1


async def test_no_more_calls_are_outstanding_than_the_server_takes(authority: Authority) -> None:
    async with serving(authority, max_calls=3) as server, linked(authority, server.address) as link:
        receivers = [send(link, "hold")[0] for _ in range(20)]
        while any(not receiver.end.done() for receiver in receivers):
            await eventually(lambda: bool(server.held) or all(receiver.end.done() for receiver in receivers))
            server.release()

    assert server.most <= 3
    assert server.begun == 20


async def test_calls_go_on_where_they_stood_after_the_connection_broke(authority: Authority) -> None:
    async with serving(authority) as server, proxied(port_of(server)) as proxy, linked(authority, f"127.0.0.1:{proxy.port}") as link:
        receivers = [send(link, "hold")[0] for _ in range(200)]
        await eventually(lambda: len(server.held) == 200)

        proxy.reset()
        await eventually(lambda: server.streams == 2)
        server.release()
        results = await asyncio.gather(*(receiver.end for receiver in receivers))

        assert {result.call_id for result in results} == {"released"}
        assert server.begun == 200
        assert not server.cancelled


async def test_a_call_that_ended_while_the_connection_was_broken_has_its_result(authority: Authority) -> None:
    async with serving(authority) as server, proxied(port_of(server)) as proxy, linked(authority, f"127.0.0.1:{proxy.port}") as link:
        receiver, _ = send(link, "hold")
        await eventually(lambda: len(server.held) == 1)

        proxy.reset()
        server.release()

        assert (await receiver.end).call_id == "released"
        assert server.begun == 1


async def test_the_calls_of_a_peer_that_freezes_are_lost_and_not_waited_for(authority: Authority) -> None:
    async with serving(authority) as server, proxied(port_of(server)) as proxy, linked(authority, f"127.0.0.1:{proxy.port}") as link:
        await echo(link)
        proxy.cut()
        receiver, _ = send(link, "hold")

        async with asyncio.timeout(6):
            with pytest.raises(LostError) as lost:
                await receiver.end
        assert lost.value.sent

        proxy.mend()
        await SessionCaller(link).call(session_pb2.SessionCall(function="echo"), 10)


async def test_a_connection_that_died_silently_is_replaced_and_its_session_resumed(authority: Authority) -> None:
    async with serving(authority) as server, proxied(port_of(server)) as proxy, linked(authority, f"127.0.0.1:{proxy.port}") as link:
        receiver, _ = send(link, "hold")
        await eventually(lambda: len(server.held) == 1)

        proxy.strand()
        await eventually(lambda: server.streams == 2, within=8)
        server.release()
        assert (await receiver.end).call_id == "released"


async def test_what_a_client_that_went_away_was_running_is_cancelled(authority: Authority) -> None:
    async with serving(authority) as server, proxied(port_of(server)) as proxy, linked(authority, f"127.0.0.1:{proxy.port}") as link:
        receiver, _ = send(link, "hold")
        await eventually(lambda: len(server.held) == 1)
        proxy.target = 1  # nobody listens there
        proxy.reset()

        async with asyncio.timeout(2):
            await eventually(lambda: server.cancelled == [True])
        with pytest.raises(LostError):
            await receiver.end


async def test_a_link_that_is_closed_cancels_what_runs(authority: Authority) -> None:
    async with serving(authority) as server:
        async with linked(authority, server.address) as link:
            receiver, _ = send(link, "hold")
            await eventually(lambda: len(server.held) == 1)
        assert (await receiver.end).call_id == "cancelled"
        assert server.cancelled == [False]


async def test_a_server_that_drains_ends_its_calls_and_new_ones_go_to_another(authority: Authority) -> None:
    async with serving(authority) as first, serving(authority) as second, linked(authority, first.address, second.address) as link:
        await echo(link)
        drained, other = (first, second) if first.begun else (second, first)
        receiver, _ = send(link, "hold")
        await eventually(lambda: len(drained.held) == 1)

        draining = asyncio.create_task(drained.acceptor.drain(5))
        await eventually(lambda: link._current is None or link._current.opener.drained)
        assert await asyncio.gather(*(echo(link, b"%d" % number) for number in range(100)))
        assert other.begun == 100
        assert not draining.done()
        drained.release()
        assert (await receiver.end).call_id == "released"
        await draining


async def test_a_session_that_is_old_is_replaced_without_a_failed_call(authority: Authority) -> None:
    async with serving(authority, max_age=0.2) as server, linked(authority, server.address) as link:
        receiver, _ = send(link, "hold")
        while server.streams < 4:
            await asyncio.gather(*(echo(link) for _ in range(20)))
            await asyncio.sleep(0.005)
        server.release()
        assert (await receiver.end).call_id == "released"


async def test_a_newer_certificate_is_taken_up_before_the_old_session_is_left(authority: Authority) -> None:
    source = authority.source(CLIENT)
    async with serving(authority) as server, linked(authority, server.address, source=source) as link:
        receiver, _ = send(link, "hold")
        await eventually(lambda: len(server.held) == 1)

        source.replace(authority.certificates(CLIENT))

        async def renewed() -> bool:
            await echo(link)
            return server.streams == 2

        await eventually(renewed)
        server.release()
        assert (await receiver.end).call_id == "released"


async def test_an_idle_session_is_left_for_a_newer_certificate_at_the_next_call(authority: Authority) -> None:
    source = authority.source(CLIENT)
    async with serving(authority) as server, linked(authority, server.address, source=source) as link:
        await echo(link)
        source.replace(authority.certificates(CLIENT))
        await asyncio.sleep(0.6)  # a link looks for certificates every half second
        await echo(link)

        assert server.streams == 2


async def test_an_identity_that_has_expired_is_refused_and_says_so(authority: Authority) -> None:
    async with serving(authority) as server, linked(authority, server.address) as link:
        await echo(link)
        server.refusal = ParadeError(Reason.UNAUTHENTICATED, "the certificate has expired")

        with pytest.raises(ParadeError) as refused:
            await SessionCaller(link).call(session_pb2.SessionCall(function="echo"), 5)
        assert refused.value.reason is Reason.UNAUTHENTICATED

        server.refusal = None
        assert await echo(link) == b"1"


async def test_an_identity_that_expires_ends_its_stream_though_nothing_comes_on_it(authority: Authority) -> None:
    async with serving(authority) as server, Channel(server.address, authority.source(CLIENT), DISPATCHER.server_name) as channel:
        stream = channel.open_stream(PATH, session_pb2.SessionFrame.SerializeToString, session_pb2.SessionFrame.FromString)
        await stream.write(session_pb2.SessionFrame(hello=session_pb2.SessionHello(session_id="0123456789abcdef")))
        await stream.read()
        await stream.write(session_pb2.SessionFrame(calls=[session_pb2.SessionCall(number=1, function="hold")]))
        await eventually(lambda: len(server.held) == 1)

        server.refusal = ParadeError(Reason.UNAUTHENTICATED, "the certificate has expired")

        assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(server.held) == 1  # its call goes on, and waits for the opener to come back


async def test_a_server_that_knows_no_sessions_is_told_apart(authority: Authority) -> None:
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", server_credentials(authority.source(DISPATCHER)))
    await server.start()
    try:
        async with linked(authority, f"127.0.0.1:{port}") as link:
            with pytest.raises(LostError) as lost:
                await echo(link)
            assert not lost.value.sent
            assert link.unimplemented
    finally:
        await server.stop(0)


async def test_calls_to_nobody_are_lost_unsent(authority: Authority) -> None:
    async with linked(authority, "127.0.0.1:1", "127.0.0.1:2") as link:
        with pytest.raises(LostError) as lost:
            await echo(link)

    assert not lost.value.sent
    assert not link.unimplemented


async def test_a_broken_rule_ends_only_the_session_that_broke_it(authority: Authority) -> None:
    async with serving(authority) as server, linked(authority, server.address) as link:
        receiver, _ = send(link, "hold")
        await eventually(lambda: len(server.held) == 1)

        async with Channel(server.address, authority.source(CLIENT), DISPATCHER.server_name) as channel:
            stream = channel.open_stream(PATH, session_pb2.SessionFrame.SerializeToString, session_pb2.SessionFrame.FromString)
            await stream.write(session_pb2.SessionFrame(hello=session_pb2.SessionHello(session_id="0123456789abcdef")))
            await stream.read()
            await stream.write(session_pb2.SessionFrame(results=[session_pb2.SessionResult(number=1)]))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stream.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "results come from the acceptor" in str(refused.value.details())

        server.release()
        assert (await receiver.end).call_id == "released"


async def test_a_dispatcher_that_is_gone_is_redelivered_to_by_the_caller(authority: Authority) -> None:
    async with serving(authority) as first, serving(authority) as second, proxied(port_of(first)) as proxy:
        async with linked(authority, f"127.0.0.1:{proxy.port}", second.address) as link:
            caller = SessionCaller(link)
            while not first.begun:
                await link.close()
                link._closed = False
                await caller.call(session_pb2.SessionCall(function="echo"), 5)
            held = asyncio.create_task(caller.call(session_pb2.SessionCall(function="hold"), 10))
            await eventually(lambda: len(first.held) == 1)
            proxy.target = 1
            proxy.reset()
            await eventually(lambda: len(second.held) == 1)
            second.release()

            assert (await held).call_id == "released"


async def test_a_slow_reader_holds_the_items_back(authority: Authority) -> None:
    async with serving(authority) as server, linked(authority, server.address) as link:
        call = session_pb2.SessionCall(function="count")
        async with aclosing(SessionCaller(link).stream(call, 20, window=4096)) as events:
            items = [event.item.data async for event, _ in _first(events, 3000)]
            assert items == [b"%d" % number for number in range(3000)]
            assert server.told < 3000 + 4096
        await eventually(lambda: server.cancelled == [False])


async def _first(events: Any, count: int) -> AsyncIterator[tuple[session_pb2.SessionEvent, int]]:
    for number in range(count):
        yield await anext(events), number
