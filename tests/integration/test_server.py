"""The one server: who gets in, what a failure looks like from outside, how it takes up a certificate and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic_settings import SettingsConfigDict

from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from parade.wire import decoding
from parade.wire.certificates import CertificateSource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.identity import Identity
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade.wire.tls import channel_credentials
from parade_chassis import server as chassis_server
from parade_chassis.config import ServiceConfig
from parade_chassis.context import current
from parade_chassis.server import MAX_STREAMS, running
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually

DISPATCHER = Identity.service("dispatcher")
CLIENT = Identity.client("dev")
OPTIONS = [("grpc.ssl_target_name_override", DISPATCHER.server_name)]


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers with who asked; does what the function's name says."""

    def __init__(self) -> None:
        self.entered = 0
        self.release = asyncio.Event()

    async def Call(self, request: dispatcher_pb2.CallRequest, context: Any) -> dispatcher_pb2.CallResponse:
        self.entered += 1
        match request.function:
            case "fail":
                raise ValueError("the password is swordfish")
            case "refuse":
                raise ParadeError(Reason.INVALID_ARGUMENTS, "no", violations=[Violation("rows", "is missing", 7)])
            case "wait":
                await self.release.wait()
        return dispatcher_pb2.CallResponse(call_id=f"{current().namespace} {current().principal}")

    async def CallStream(self, request: dispatcher_pb2.CallStreamRequest, context: Any) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:
        yield dispatcher_pb2.CallStreamResponse()
        raise ParadeError(Reason.AGENT_LOST, "gone")


@asynccontextmanager
async def serving(authority: Authority, **settings: Any) -> AsyncIterator[tuple[str, str, Dispatcher]]:
    servicer = Dispatcher()  # type: ignore[abstract]  # no more is asked
    async with process_of("dispatcher", Config, authority, **settings) as process:
        async with running(process, servicer, enrolment_listen="127.0.0.1:0") as server:
            yield server.address, server.enrolment_address, servicer


def channel(address: str, source: CertificateSource | None, *, trust_bundle: bytes = b"") -> Channel:
    return Channel(address, source, DISPATCHER.server_name, trust_bundle=trust_bundle)


async def call(address: str, source: CertificateSource | None, function: str = "", *, trust_bundle: bytes = b"", **options: Any) -> str:
    async with channel(address, source, trust_bundle=trust_bundle) as connection:
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(connection.for_stubs())
        return (await stub.Call(dispatcher_pb2.CallRequest(function=function), timeout=5, **options)).call_id


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_caller_on_the_list_is_served_under_its_verified_name(authority: Authority) -> None:
    async with serving(authority) as (address, _, _):
        assert await call(address, authority.source(CLIENT)) == f"default {CLIENT.uri}"


async def test_a_client_cannot_name_another_namespace(authority: Authority) -> None:
    metadata = (("parade-namespace", "other"), ("parade-principal", "spiffe://parade.local/service/gateway"))
    async with serving(authority) as (address, _, _):
        assert await call(address, authority.source(CLIENT), metadata=metadata) == f"default {CLIENT.uri}"


async def test_the_gateway_is_believed_for_whom_it_acts(authority: Authority) -> None:
    metadata = on_behalf_of("other", "spiffe://parade.local/ns/other/client/web", Role.ADMIN)
    async with serving(authority) as (address, _, _):
        answer = await call(address, authority.source(Identity.service("gateway")), metadata=metadata)

    assert answer == "other spiffe://parade.local/ns/other/client/web"


@pytest.mark.parametrize("kind", ["none", "foreign", "expired", "self-made name"])
async def test_a_bad_certificate_ends_at_the_handshake_or_before_the_handler(authority: Authority, tmp_path: Path, kind: str) -> None:
    stranger = Authority(tmp_path / "stranger")
    sources: dict[str, CertificateSource | None] = {
        "none": None,
        "foreign": stranger.source(CLIENT, trust_bundle=authority.trust_bundle),
        "expired": authority.expired(CLIENT),
        "self-made name": authority.source(Identity.client("dev", domain="elsewhere.local")),
    }
    async with serving(authority) as (address, _, servicer):
        with pytest.raises(ParadeError) as refused:
            await call(address, sources[kind], trust_bundle=authority.trust_bundle)

    assert refused.value.reason in (Reason.UNAVAILABLE, Reason.UNAUTHENTICATED)
    assert servicer.entered == 0


async def test_a_caller_not_on_the_list_is_refused_before_the_handler(authority: Authority) -> None:
    async with serving(authority) as (address, _, servicer):
        with pytest.raises(ParadeError) as refused:
            await call(address, authority.source(Identity.service("monitor")))

    assert refused.value.reason is Reason.PERMISSION_DENIED
    assert servicer.entered == 0


async def test_the_enrolment_port_lets_nobody_at_other_methods(authority: Authority) -> None:
    async with serving(authority) as (_, enrolment, servicer):
        with pytest.raises(ParadeError) as refused:
            await call(enrolment, None, trust_bundle=authority.trust_bundle)

    assert refused.value.reason is Reason.UNAUTHENTICATED
    assert servicer.entered == 0


async def test_a_client_refuses_a_server_of_another_name(authority: Authority) -> None:
    async with serving(authority) as (address, _, servicer):
        async with Channel(address, authority.source(CLIENT), Identity.service("scheduler").server_name) as connection:
            stub = dispatcher_pb2_grpc.DispatcherServiceStub(connection.for_stubs())
            with pytest.raises(ParadeError) as refused:
                await stub.Call(dispatcher_pb2.CallRequest(), timeout=5)

    assert refused.value.reason is Reason.UNAVAILABLE
    assert servicer.entered == 0


async def test_a_typed_error_arrives_whole(authority: Authority) -> None:
    async with serving(authority) as (address, _, _):
        with pytest.raises(ParadeError) as failed:
            await call(address, authority.source(CLIENT), "refuse")

    assert failed.value.violations == (Violation("rows", "is missing", 7),)


async def test_an_unforeseen_failure_is_masked_and_stands_in_the_log(authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(authority) as (address, _, _):
        with pytest.raises(ParadeError) as failed:
            await call(address, authority.source(CLIENT), "fail")

    incident = failed.value.message.rpartition(" ")[2]
    assert failed.value.reason is Reason.INTERNAL
    assert "swordfish" not in str(failed.value)
    assert incident in capsys.readouterr().err


async def test_a_stream_ends_with_its_typed_error(authority: Authority) -> None:
    async with serving(authority) as (address, _, _), channel(address, authority.source(CLIENT)) as connection:
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(connection.for_stubs())
        responses = stub.CallStream(dispatcher_pb2.CallStreamRequest(), timeout=5)
        first = await anext(aiter(responses))
        with pytest.raises(ParadeError) as failed:
            await anext(aiter(responses))

    assert first == dispatcher_pb2.CallStreamResponse()
    assert failed.value.reason is Reason.AGENT_LOST


async def test_both_ends_take_up_new_certificates_and_running_calls_go_on(authority: Authority) -> None:
    source = authority.source(CLIENT)
    async with serving(authority) as (address, _, servicer), channel(address, source) as connection:
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(connection.for_stubs())
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(_answer(stub, "wait"))
            async with asyncio.timeout(5):
                while servicer.entered == 0:
                    await asyncio.sleep(0.01)
            authority.files(DISPATCHER, lifetime=timedelta(hours=2))
            source.replace(authority.certificates(Identity.client("renewed")))
            renewed = await _answer(stub, "")
            servicer.release.set()

    assert renewed.endswith("/client/renewed")
    assert under_way.result().endswith("/client/dev")


async def test_many_callers_may_connect_at_once(authority: Authority) -> None:
    source, turns = authority.source(CLIENT), asyncio.Semaphore(64)

    async def connect(address: str) -> str:
        async with turns:
            return await call(address, source)

    async with serving(authority) as (address, _, _):
        answers = await asyncio.gather(*(connect(address) for _ in range(500)))

    assert set(answers) == {f"default {CLIENT.uri}"}


async def test_a_request_under_way_finishes_when_the_server_ends(authority: Authority) -> None:
    servicer = Dispatcher()  # type: ignore[abstract]  # no more is asked
    async with process_of("dispatcher", Config, authority, drain_timeout=5.0) as process, asyncio.TaskGroup() as tasks:
        async with running(process, servicer) as server:
            under_way = tasks.create_task(call(server.address, authority.source(CLIENT), "wait"))
            async with asyncio.timeout(5):
                while servicer.entered == 0:
                    await asyncio.sleep(0.01)
            asyncio.get_running_loop().call_later(0.2, servicer.release.set)

    assert under_way.result().startswith("default")


async def test_a_burst_of_calls_on_one_channel_all_succeed(authority: Authority) -> None:
    async with serving(authority) as (address, _, servicer), channel(address, authority.source(CLIENT)) as connection:
        stub = dispatcher_pb2_grpc.DispatcherServiceStub(connection.for_stubs())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3000):
                tasks.create_task(_answer(stub, "", timeout=30))

    assert servicer.entered == 3000


async def test_one_connection_cannot_take_every_place(authority: Authority) -> None:
    request = dispatcher_pb2.CallRequest(function="wait").SerializeToString()
    async with serving(authority) as (address, _, servicer):
        async with raw(address, authority.source(CLIENT)) as greedy:
            plain: Any = greedy.unary_unary("/parade.v1.DispatcherService/Call")
            calls = [plain(request, timeout=50) for _ in range(512)]  # many more at once fail in gRPC
            for wanted in range(512, MAX_STREAMS + 1, 512):
                await _entered(servicer, wanted)
                calls += [plain(request, timeout=50) for _ in range(512)]

            answer = await call(address, authority.source(Identity.client("modest")))

            assert answer.endswith("/client/modest")
            assert servicer.entered == MAX_STREAMS + 1
            servicer.release.set()
            await eventually(lambda: servicer.entered > MAX_STREAMS + 1, within=40)


def raw(address: str, source: CertificateSource) -> grpc.aio.Channel:
    """Returns a channel of gRPC's own, which does what a server may not expect."""
    return grpc.aio.secure_channel(address, channel_credentials(source.current()), OPTIONS)


async def without_an_end(connection: grpc.aio.Channel, count: int = 1) -> list[Any]:
    """Makes requests of which nothing but the metadata is sent."""
    unfinished: Any = connection.stream_unary("/parade.v1.DispatcherService/Call")
    calls = [unfinished() for _ in range(count)]
    await asyncio.gather(*(call.wait_for_connection() for call in calls))
    return calls


async def test_who_has_no_certificate_takes_no_place_of_those_who_have_one(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chassis_server, "MAX_CONCURRENT_REQUESTS", 4)
    async with serving(authority) as (address, enrolment, servicer):
        credentials = grpc.ssl_channel_credentials(authority.trust_bundle)
        async with grpc.aio.secure_channel(enrolment, credentials, OPTIONS) as stranger:
            held = await without_an_end(stranger, 16)

            assert await call(address, authority.source(CLIENT)) == f"default {CLIENT.uri}"
            assert (len(held), servicer.entered) == (16, 1)


async def test_who_may_not_call_is_refused_before_the_request_has_come(authority: Authority) -> None:
    monitor = authority.source(Identity.service("monitor"))
    async with serving(authority) as (address, _, _), raw(address, monitor) as connection, asyncio.timeout(5):
        (refused,) = await without_an_end(connection)

        assert await refused.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_request_that_does_not_come_is_not_waited_for_for_ever(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "REQUEST_TIMEOUT", 0.05)
    async with serving(authority) as (address, _, servicer), raw(address, authority.source(CLIENT)) as connection, asyncio.timeout(5):
        (unfinished,) = await without_an_end(connection)

        assert (await unfinished.code(), servicer.entered) == (grpc.StatusCode.DEADLINE_EXCEEDED, 0)


async def test_a_request_of_nothing_is_none(authority: Authority) -> None:
    async with serving(authority) as (address, _, servicer), raw(address, authority.source(CLIENT)) as connection:
        empty: Any = connection.stream_unary("/parade.v1.DispatcherService/Call")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await empty(iter(()), timeout=5)

    assert (refused.value.code(), servicer.entered) == (grpc.StatusCode.INVALID_ARGUMENT, 0)


async def test_without_a_row_for_a_method_the_server_does_not_start(authority: Authority) -> None:
    async with process_of("dispatcher", Config, authority) as process:
        with pytest.raises(ValueError, match="no such method"):
            async with running(process, Dispatcher(), foreign={"/other.Service/Method": frozenset()}):  # type: ignore[abstract]  # no more is asked
                pass


async def test_an_address_in_use_is_said(authority: Authority) -> None:
    async with serving(authority) as (address, _, _), process_of("dispatcher", Config, authority, listen=address) as process:
        with pytest.raises(RuntimeError, match=r"listen|bind"):
            async with running(process, Dispatcher()):  # type: ignore[abstract]  # no more is asked
                pass


async def test_probes_are_answered_without_a_certificate(authority: Authority) -> None:
    async with process_of("dispatcher", Config, authority, health_listen="127.0.0.1:0") as process:
        async with running(process, Dispatcher()) as server:  # type: ignore[abstract]  # no more is asked
            async with grpc.aio.insecure_channel(server.health_address) as connection:
                stub: Any = health_pb2_grpc.HealthStub(connection)
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_says_that_it_ends_while_what_is_longer_than_a_request_is_let_end(authority: Authority) -> None:
    async def drain() -> None:
        stub: Any = health_pb2_grpc.HealthStub(connection)
        said.append((await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)).status)
        answers.append(await call(server.address, authority.source(CLIENT)))

    said: list[int] = []
    answers: list[str] = []
    async with process_of("dispatcher", Config, authority, health_listen="127.0.0.1:0") as process:
        async with running(process, Dispatcher(), drain=drain) as server:  # type: ignore[abstract]  # no more is asked
            connection = grpc.aio.insecure_channel(server.health_address)
        await connection.close()

    assert said == [health_pb2.HealthCheckResponse.NOT_SERVING]
    assert answers == [f"default {CLIENT.uri}"]


async def _answer(stub: Any, function: str, timeout: float = 10) -> str:
    return (await stub.Call(dispatcher_pb2.CallRequest(function=function), timeout=timeout)).call_id  # type: ignore[no-any-return]


async def _entered(servicer: Dispatcher, count: int) -> None:
    await eventually(lambda: servicer.entered >= count, within=40)
