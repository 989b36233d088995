"""Revocation in a whole mesh: who is revoked is out on every port, over connections that are open too, and stays out."""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2

from parade.client import Mesh, connect
from parade.testing import LocalMesh
from parade.v1 import agent_pb2, session_pb2
from parade.v1.agent_manager_pb2 import Instance
from parade.wire.certificates import Certificates
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import SERVICES, Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.peer import CERTIFICATE, Refusal
from parade.wire.session.methods import AGENT_SESSION, DISPATCHER_SESSION, SCHEDULER_SESSION
from parade.wire.status import from_rpc_error
from parade.wire.tls import channel_credentials
from tests.integration.test_access import MeshAuthority
from tests.support import commands
from tests.support.mesh import agent_process, kill, ready, wait_until_back
from tests.support.waiting import eventually

WITHIN = 10.0
"""Seconds after which nobody may let in who is revoked."""
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
HEALTH = health_pb2.HealthCheckRequest().SerializeToString()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshFile]:
    """A mesh with an agent, in which each test revokes somebody else."""
    with ExitStack() as stack:
        made = stack.enter_context(LocalMesh(tmp_path_factory.mktemp("revoking")))
        stack.enter_context(agent_process(made))
        yield made


@pytest.fixture
async def mesh(file: MeshFile) -> AsyncIterator[Mesh]:
    async with connect(file) as client:
        await ready(client, 1)
        yield client


def serial_of(certificates: Certificates) -> str:
    return f"{x509.load_pem_x509_certificate(certificates.certificate_chain).serial_number:x}"


@contextlib.asynccontextmanager
async def connection(address: str, server_name: str, certificates: Certificates) -> AsyncIterator[Any]:
    options = [("grpc.ssl_target_name_override", server_name)]
    async with grpc.aio.secure_channel(address, channel_credentials(certificates), options) as channel:
        yield channel


async def refusal(call: Awaitable[Any]) -> ParadeError | None:
    """Returns how a call is refused; None where it is not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error, service="it")
    return None


def is_revoked(error: ParadeError | None) -> bool:
    return error is not None and error.reason is Reason.UNAUTHENTICATED and error.metadata.get(CERTIFICATE) == Refusal.REVOKED


async def until_refused(ask: Callable[[], Awaitable[Any]]) -> ParadeError:
    """Asks over a connection that is open, again and again, until it is refused."""
    found: list[ParadeError] = []

    async def refused() -> bool:
        error = await refusal(ask())
        if error is not None:
            found.append(error)
        return error is not None

    await eventually(refused, within=WITHIN)
    return found[0]


async def ended(stream: Any) -> ParadeError | None:
    """Reads a stream to its end."""

    async def read() -> None:
        while await stream.read() is not grpc.aio.EOF:
            pass
        if await stream.code() is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                await stream.code(), await stream.initial_metadata(), await stream.trailing_metadata(), await stream.details()
            )

    async with asyncio.timeout(WITHIN):
        return await refusal(read())


async def greeted(channel: Any, path: str) -> Any:
    """Opens a session, and returns its stream."""
    stream = channel.stream_stream(path)()
    hello = session_pb2.SessionFrame()
    hello.hello.session_id = secrets.token_hex(16)
    await stream.write(hello.SerializeToString())
    async with asyncio.timeout(5):
        answer = session_pb2.SessionFrame.FromString(await stream.read())
    assert answer.HasField("hello"), answer
    return stream


@pytest.mark.parametrize("service", SERVICES)
async def test_a_revoked_identity_is_refused_at_every_service_and_its_streams_end(mesh: Mesh, file: MeshFile, service: str) -> None:
    victim = Identity.client(f"victim-of-{service.replace('_', '-')}")
    certificates = MeshAuthority(file).certificates(victim)
    async with connection(file.services[service], Identity.service(service).server_name, certificates) as channel:
        watching = channel.unary_stream(WATCH)(HEALTH)
        assert await watching.read()
        assert await refusal(channel.unary_unary(CHECK)(HEALTH)) is None

        await mesh.revoke(victim.uri, reason="lost in a taxi")

        error = await until_refused(lambda: channel.unary_unary(CHECK)(HEALTH, timeout=5))
        stream_error = await ended(watching)

    assert is_revoked(error)
    assert is_revoked(stream_error)
    assert "lost in a taxi" in error.message


@pytest.mark.parametrize(("service", "path"), [("dispatcher", DISPATCHER_SESSION), ("scheduler", SCHEDULER_SESSION)])
async def test_a_session_of_a_revoked_certificate_ends(mesh: Mesh, file: MeshFile, service: str, path: str) -> None:
    certificates = MeshAuthority(file).certificates(Identity.agent("victim", f"i-{service}"))
    async with connection(file.services[service], Identity.service(service).server_name, certificates) as channel:
        stream = await greeted(channel, path)

        await mesh.revoke(serial_of(certificates))

        assert is_revoked(await ended(stream))


async def test_an_agents_own_port_refuses_a_revoked_dispatcher_and_ends_its_session(mesh: Mesh, file: MeshFile) -> None:
    certificates = MeshAuthority(file).certificates(Identity.service("dispatcher"))
    instance = (await mesh.agent("tested")).instances[0]
    describe = agent_pb2.DescribeRequest().SerializeToString()
    async with connection(instance.address, instance.server_name, certificates) as channel:
        stream = await greeted(channel, AGENT_SESSION)
        assert await refusal(channel.unary_unary("/parade.v1.AgentService/Describe")(describe)) is None

        await mesh.revoke(serial_of(certificates), reason="stolen")

        error = await until_refused(lambda: channel.unary_unary("/parade.v1.AgentService/Describe")(describe, timeout=5))
        stream_error = await ended(stream)

    assert is_revoked(error)
    assert is_revoked(stream_error)
    assert await mesh.call("tested.echo", text="the mesh's own dispatcher goes on") == "the mesh's own dispatcher goes on"


async def test_an_instance_that_is_revoked_gets_no_calls_and_its_process_ends(mesh: Mesh, file: MeshFile) -> None:
    with agent_process(file) as process:
        await ready(mesh, 2)
        victim = next(instance for instance in (await mesh.agent("tested")).instances if instance.pid == process.pid)

        await mesh.revoke(f"spiffe://{file.domain}/ns/default/agent/tested/{victim.id}", reason="it misbehaves")

        assert victim.id not in await instances(mesh)
        await eventually(lambda: process.poll() is not None, within=20)
        pids = {await mesh.call("tested.identify") for _ in range(20)}

    assert process.returncode == 1
    assert process.pid not in pids
    assert len(await instances(mesh)) == 1
    said = (file.folder / "agents.log").read_text()
    assert "it misbehaves" in said
    assert "new join token" in said
    assert "Traceback" not in said


async def test_a_revocation_holds_over_restarts(mesh: Mesh, file: MeshFile) -> None:
    victim = Identity.client("victim-of-restarts")
    certificates = MeshAuthority(file).certificates(victim)
    await mesh.revoke(victim.uri)

    for service in ("agent_manager", "dispatcher"):
        wait_until_back(file, service, kill(file, service))

    for service in ("agent_manager", "dispatcher"):
        async with connection(file.services[service], Identity.service(service).server_name, certificates) as channel:
            ask = channel.unary_unary(CHECK)
            assert is_revoked(await until_refused(lambda ask=ask: ask(HEALTH, timeout=5)))  # type: ignore[misc]


async def test_certificates_of_instances_are_listed_and_a_client_does_not_revoke_itself(mesh: Mesh, file: MeshFile) -> None:
    instance = (await mesh.agent("tested")).instances[0]
    uri = f"spiffe://{file.domain}/ns/default/agent/tested/{instance.id}"

    (listed,) = await mesh.certificates(uri, state="active")
    with pytest.raises(ParadeError) as itself:
        await mesh.revoke(Identity.client("developer").uri)
    with pytest.raises(ParadeError) as nothing:
        await mesh.revoke("")

    assert listed.spiffe_id == uri
    assert listed.expire_time.seconds > time.time()
    assert (itself.value.reason, nothing.value.reason) == (Reason.FAILED_PRECONDITION, Reason.INVALID_ARGUMENTS)


async def test_the_command_line_lists_and_revokes(mesh: Mesh, file: MeshFile) -> None:
    def parade(*arguments: str) -> tuple[int, str, str]:
        done = commands.parade(file.folder.parent, "cert", *arguments)
        return done.returncode, done.stdout, done.stderr

    victim = Identity.client("victim-of-the-command-line").uri
    instance = (await mesh.agent("tested")).instances[0]

    listed = await asyncio.to_thread(parade, "list", "--state", "active", "-o", "json")
    shown = await asyncio.to_thread(parade, "list")
    revoked = await asyncio.to_thread(parade, "revoke", victim, "--reason", "lost", "-o", "json")
    again = await asyncio.to_thread(parade, "revoke", victim)
    unknown = await asyncio.to_thread(parade, "revoke", "nobody")

    assert f"/agent/tested/{instance.id}" in " ".join(one["spiffeId"] for one in json.loads(listed[1]))
    assert instance.id in shown[1]
    assert (revoked[0], json.loads(revoked[1])["reason"]) == (0, "lost")
    assert (again[0], f"{victim} is revoked" in again[2]) == (0, True)
    assert (unknown[0], "serial" in unknown[2]) == (1, True)


async def instances(mesh: Mesh) -> dict[str, Instance]:
    return {instance.id: instance for instance in (await mesh.agent("tested")).instances if instance.state == 2}
