"""Every port of the mesh refuses those who do not belong, before any handler is entered."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from parade.client import Mesh
from parade.v1 import agent_manager_pb2, agent_pb2, dispatcher_pb2, monitor_pb2, scheduler_pb2
from parade.wire.certificates import Certificates
from parade.wire.identity import SERVICES, Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.tls import channel_credentials
from parade_chassis.ca import CertificateAuthority
from tests.support.certificates import Authority

FORBIDDEN_TO_AGENTS = {
    "agent_manager": ("/parade.v1.AgentManagerService/PauseAgent", agent_manager_pb2.PauseAgentRequest(name="tested")),
    "monitor": ("/parade.v1.MonitorService/QueryLogs", monitor_pb2.QueryLogsRequest()),
}
"""A method of each service that is not for agents, where it has one."""
OPEN_TO_CLIENTS = {
    "agent_manager": ("/parade.v1.AgentManagerService/ListAgents", agent_manager_pb2.ListAgentsRequest()),
    "dispatcher": ("/parade.v1.DispatcherService/Call", dispatcher_pb2.CallRequest(function="tested.echo")),
    "scheduler": ("/parade.v1.SchedulerService/ListRuns", scheduler_pb2.ListRunsRequest()),
    "monitor": ("/parade.v1.MonitorService/QueryLogs", monitor_pb2.QueryLogsRequest()),
    "gateway": ("/grpc.health.v1.Health/Check", agent_manager_pb2.ListAgentsRequest()),
}
REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


class MeshAuthority(Authority):
    """The root of a running mesh, as its owner has it."""

    def __init__(self, mesh: MeshFile) -> None:
        certificates = mesh.folder / "certificates"
        self.folder = mesh.folder
        self.ca = CertificateAuthority.load((certificates / "ca.key").read_bytes(), (certificates / "ca.pem").read_bytes())


def bad_credentials(kind: str, mesh: MeshFile, folder: Path) -> grpc.ChannelCredentials:
    authority = MeshAuthority(mesh)
    client = Identity.client("intruder")
    if kind == "no certificate":
        return grpc.ssl_channel_credentials(authority.trust_bundle)
    bad: dict[str, Certificates] = {
        "another authority's": Authority(folder).certificates(client, trust_bundle=authority.trust_bundle),
        "expired": authority.expired(client).current(),
        "another domain's": authority.certificates(Identity.client("intruder", domain="elsewhere.local")),
    }
    return channel_credentials(bad[kind])


async def status_of(address: str, credentials: grpc.ChannelCredentials, service: str, method: str, request: bytes) -> grpc.StatusCode:
    options = [("grpc.ssl_target_name_override", Identity.service(service).server_name)]
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        plain: Any = channel.unary_unary(method)
        call = plain(request, timeout=5)
        code: grpc.StatusCode = await call.code()
        return code


@pytest.mark.parametrize("kind", ["no certificate", "another authority's", "expired", "another domain's"])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_refuses_a_bad_certificate(shared_mesh: MeshFile, tmp_path: Path, service: str, kind: str) -> None:
    method, request = OPEN_TO_CLIENTS[service]

    code = await status_of(
        shared_mesh.services[service], bad_credentials(kind, shared_mesh, tmp_path), service, method, request.SerializeToString()
    )

    assert code in REFUSED


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_lets_a_good_certificate_in(shared_mesh: MeshFile, service: str) -> None:
    method, request = OPEN_TO_CLIENTS[service]
    credentials = channel_credentials(MeshAuthority(shared_mesh).certificates(Identity.client("dev")))

    code = await status_of(shared_mesh.services[service], credentials, service, method, request.SerializeToString())

    assert code not in {*REFUSED, grpc.StatusCode.PERMISSION_DENIED}


@pytest.mark.parametrize("service", FORBIDDEN_TO_AGENTS)
async def test_an_agent_cannot_call_what_is_not_for_agents(shared_mesh: MeshFile, service: str) -> None:
    method, request = FORBIDDEN_TO_AGENTS[service]
    credentials = channel_credentials(MeshAuthority(shared_mesh).certificates(Identity.agent("tested", "i-0")))

    code = await status_of(shared_mesh.services[service], credentials, service, method, request.SerializeToString())

    assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_client_cannot_call_what_is_for_agents_only(shared_mesh: MeshFile) -> None:
    credentials = channel_credentials(MeshAuthority(shared_mesh).certificates(Identity.client("dev")))

    code = await status_of(
        shared_mesh.services["agent_manager"],
        credentials,
        "agent_manager",
        "/parade.v1.AgentManagerService/RegisterInstance",
        agent_manager_pb2.RegisterInstanceRequest().SerializeToString(),
    )

    assert code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("caller", ["client", "other agent", "scheduler", "nobody"])
async def test_an_agents_own_port_serves_dispatchers_only(mesh: Mesh, caller: str) -> None:
    authority = MeshAuthority(mesh.file)
    instance = (await mesh.agent("tested")).instances[0]
    identities = {
        "client": Identity.client("dev"),
        "other agent": Identity.agent("other", "i-0"),
        "scheduler": Identity.service("scheduler"),
    }
    credentials = (
        channel_credentials(authority.certificates(identities[caller]))
        if caller in identities
        else grpc.ssl_channel_credentials(authority.trust_bundle)
    )
    options = [("grpc.ssl_target_name_override", instance.server_name)]
    async with grpc.aio.secure_channel(instance.address, credentials, options) as channel:
        request = agent_pb2.InvokeRequest(function="identify").SerializeToString()
        plain: Any = channel.unary_unary("/parade.v1.AgentService/Invoke")
        code = await plain(request, timeout=5).code()

    assert code in {*REFUSED, grpc.StatusCode.PERMISSION_DENIED}


def test_secrets_lie_where_only_their_owner_reads_them(shared_mesh: MeshFile) -> None:
    secret = [*(shared_mesh.folder / "certificates").glob("*.key"), shared_mesh.folder / shared_mesh.api_key]

    assert len(secret) > len(SERVICES)
    assert all(path.stat().st_mode & 0o077 == 0 for path in secret)
