"""Bytes that are no message: the fault of who sent them, said as every other fault is, at every method of every port."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parade.client import Mesh
from parade.v1 import dispatcher_pb2, session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, Identity
from parade.wire.session.limits import KEPT
from parade.wire.status import from_rpc_error
from parade_chassis import paging
from parade_chassis.config import ServiceConfig
from parade_chassis.server import running
from tests.integration.test_server import Dispatcher
from tests.support.certificates import Authority
from tests.support.hostile import frames
from tests.support.hostile.ports import NAMES, NAMESPACE, Method, Port, Ports, said_by
from tests.support.mesh import ROOT
from tests.support.processes import process_of

DESCRIPTORS = ROOT / "sdk" / "python" / "parade" / "v1" / "descriptors.binpb"
GARBAGE = b"\xff\xff\xff"
STRANGERS = {"enrolment": ANONYMOUS, "monitor": Identity.agent("x", "i-0"), "agent": Identity.service("gateway")}
HELLO = session_pb2.SessionFrame(hello=session_pb2.SessionHello(session_id="undecodable-0000001"))


@pytest.fixture
async def ports(mesh: Mesh) -> Ports:
    return Ports(mesh.file, (await mesh.agent("tested")).instances[0])


async def sent(channel: grpc.aio.Channel, method: Method, caller: Identity, *messages: bytes) -> ParadeError:
    """Sends messages and returns the failure."""
    metadata = said_by(caller)
    descriptor = method.descriptor
    plain: Any
    if descriptor.client_streaming:
        plain = channel.stream_stream(method.path) if descriptor.server_streaming else channel.stream_unary(method.path)
        call = plain(iter(messages), timeout=10, metadata=metadata)
    else:
        plain = channel.unary_stream(method.path) if descriptor.server_streaming else channel.unary_unary(method.path)
        call = plain(*messages, timeout=10, metadata=metadata)
    try:
        if descriptor.server_streaming:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError(f"{method.path} took it")


@pytest.mark.parametrize("name", NAMES)
async def test_at_every_method_the_sender_is_told(shared_mesh: object, mesh: Mesh, ports: Ports, name: str) -> None:
    port = ports.by_name[name]
    for method in port.methods:
        async with ports.channel(port, method.caller) as channel:
            failure = await sent(channel, method, method.caller, GARBAGE)

        assert failure.reason is Reason.INVALID_ARGUMENTS, method.path
        assert "3 bytes cannot be decoded" in failure.message, method.path
        assert "retryable" not in failure.metadata  # the details were there, and are read
    assert "Traceback" not in (mesh.file.folder / "test.log").read_text()
    assert "Traceback" not in (mesh.file.folder / "agents.log").read_text()


def test_every_service_of_the_contract_is_served_at_a_port(ports: Ports) -> None:
    served = {method.descriptor.containing_service.full_name for port in ports.by_name.values() for method in port.methods}
    contract = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())

    assert {f"parade.v1.{service.name}" for file in contract.file if file.package == "parade.v1" for service in file.service} <= served


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gateway"])
async def test_who_may_not_call_is_told_so_first(mesh: Mesh, ports: Ports, name: str) -> None:
    port = ports.by_name[name]
    stranger = (
        ANONYMOUS
        if name == "enrolment"
        else Identity.agent("x", "i-0")
        if name == "monitor"
        else Identity.service("gateway" if name == "agent" else "monitor")
    )
    refused = next(method for method in _refusing(port, stranger))

    async with ports.channel(port, stranger) as channel:
        failure = await sent(channel, refused, stranger, GARBAGE)

    assert failure.reason in (Reason.PERMISSION_DENIED, Reason.UNAUTHENTICATED)


@pytest.mark.parametrize("name", ["dispatcher", "scheduler", "agent"])
async def test_a_frame_that_cannot_be_decoded_ends_its_session(mesh: Mesh, ports: Ports, name: str) -> None:
    port = ports.by_name[name]
    session = next(method for method in port.methods if method.is_session)
    async with ports.channel(port, session.caller) as channel:
        failure = await sent(channel, session, session.caller, HELLO.SerializeToString(), GARBAGE)
        again = session_pb2.SessionFrame(hello=session_pb2.SessionHello(session_id=HELLO.hello.session_id, resume=True))
        answer = await _first_answer(channel, session, again)

    assert failure.reason is Reason.INVALID_ARGUMENTS
    assert KEPT > 1  # a session whose stream broke would be there still
    assert not answer.hello.resume


@pytest.mark.parametrize("last", ["x/y", "/y", "9" * 18 + "/y", "9" * 5000 + "/y"])
async def test_so_is_who_makes_up_a_page_token(mesh: Mesh, ports: Ports, last: str) -> None:
    port = ports.by_name["dispatcher"]
    method = next(method for method in port.methods if method.descriptor.name == "ListCalls")
    request = dispatcher_pb2.ListCallsRequest(page_token=paging.token_of(f"calls {NAMESPACE}  [] None", last))

    async with ports.channel(port, method.caller) as channel:
        failure = await sent(channel, method, method.caller, request.SerializeToString())

    assert failure.reason is Reason.INVALID_ARGUMENTS
    assert failure.violations[0].field == "page_token"


@pytest.fixture
async def probes(tmp_path: Path) -> AsyncIterator[str]:
    async with process_of("dispatcher", ServiceConfig, Authority(tmp_path), health_listen="127.0.0.1:0") as process:
        async with running(process, Dispatcher()) as server:  # type: ignore[abstract]  # no more is asked
            yield server.health_address


async def test_so_does_the_port_of_the_probes(probes: str, caplog: pytest.LogCaptureFixture) -> None:
    async with grpc.aio.insecure_channel(probes) as channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(GARBAGE, timeout=5)

    assert from_rpc_error(refused.value).reason is Reason.INVALID_ARGUMENTS
    assert not caplog.records


async def test_the_health_of_a_service_can_be_watched(probes: str, mesh: Mesh, ports: Ports) -> None:
    port = ports.by_name["dispatcher"]
    async with ports.channel(port, Identity.client("dev")) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)
        answer = await watch.read()
        watch.cancel()

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("path", [b"/grpc.health.v1.Health/\xb1", b"\xff", b"/a/b"])
async def test_a_path_that_is_no_text_or_names_nothing_closes_no_port(probes: str, path: bytes) -> None:
    health: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]
    port = Port("probes", probes, "", (Method(health.methods_by_name["Check"]),))
    raw = frames.Raw(port, None)
    raw.hello()
    raw.send(raw.headers(1, end=True, path=path))
    await asyncio.to_thread(raw.told)
    raw.close()

    async with grpc.aio.insecure_channel(probes) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        unknown: Any = channel.unary_unary("/parade.v1.NoService/Nothing")
        code = await unknown(b"", timeout=5).code()

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_method_of_healths_contract_that_is_not_served_is_no_fault_of_ours(probes: str) -> None:
    async with grpc.aio.insecure_channel(probes) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        messages: Any = health_pb2  # whose types leave this one out
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.List(messages.HealthListRequest(), timeout=5)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def _refusing(port: Port, stranger: Identity) -> list[Method]:
    from parade.v1 import access_pb2

    wanted = access_pb2.CallerKind.Value(f"CALLER_KIND_{stranger.kind.value}")
    if port.name == "enrolment":  # what the port's other methods say to who shows no certificate
        from parade.v1 import agent_manager_pb2

        return [Method(agent_manager_pb2.DESCRIPTOR.services_by_name["AgentManagerService"].methods_by_name["ListAgents"])]
    return [
        method
        for method in port.methods
        if method.descriptor.GetOptions().Extensions[access_pb2.callers]
        and wanted not in method.descriptor.GetOptions().Extensions[access_pb2.callers]
    ]


async def _first_answer(channel: grpc.aio.Channel, method: Method, frame: session_pb2.SessionFrame) -> session_pb2.SessionFrame:
    plain: Any = channel.stream_stream(method.path, session_pb2.SessionFrame.SerializeToString, session_pb2.SessionFrame.FromString)
    call = plain(timeout=5)
    await call.write(frame)
    answer: session_pb2.SessionFrame = await call.read()
    call.cancel()
    return answer
