"""Lets clients of a test's own into a whole mesh: their roles, and the wait until every service knows of them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from parade.client import connect
from parade.permissions import RoleName
from parade.v1 import agent_manager_pb2, dispatcher_pb2, gateway_pb2, monitor_pb2, scheduler_pb2
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.tls import channel_credentials
from tests.support.waiting import eventually

READING = {
    "agent_manager": ("/parade.v1.AgentManagerService/ListAgents", agent_manager_pb2.ListAgentsRequest()),
    "dispatcher": ("/parade.v1.DispatcherService/ListCalls", dispatcher_pb2.ListCallsRequest()),
    "scheduler": ("/parade.v1.SchedulerService/ListRuns", scheduler_pb2.ListRunsRequest()),
    "monitor": ("/parade.v1.MonitorService/QueryLogs", monitor_pb2.QueryLogsRequest()),
    "gateway": ("/parade.v1.GatewayService/GetArtifact", gateway_pb2.GetArtifactRequest()),
}
"""What a viewer may ask of each service."""
NOT_YET = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}


def let_in(mesh: MeshFile, *clients: Identity, role: RoleName = "admin") -> None:
    """Grants clients a role in their own namespaces, as the mesh's own client, and waits until every service knows."""
    with ThreadPoolExecutor(1) as thread:  # there may be a loop in this one
        thread.submit(lambda: asyncio.run(admit(mesh, *clients, role=role))).result(60)


async def admit(mesh: MeshFile, *clients: Identity, role: RoleName = "admin") -> None:
    """Does what `let_in` does, in a loop that runs."""
    async with connect(mesh) as admin:
        for client in clients:
            await admin.grant_role(client.uri, role, namespace=client.namespace)
    for client in clients:
        for service, addresses in mesh.services.items():
            for address in addresses.split(","):
                await eventually(lambda: _knows(mesh, service, address, client), within=20)  # noqa: B023  # it is awaited here


async def _knows(mesh: MeshFile, service: str, address: str, client: Identity) -> bool:
    from tests.integration.test_access import MeshAuthority

    credentials = channel_credentials(MeshAuthority(mesh).certificates(client))
    options = [("grpc.ssl_target_name_override", Identity.service(service).server_name)]
    method, request = READING[service]
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        plain: Any = channel.unary_stream(method) if service == "gateway" else channel.unary_unary(method)
        return await plain(request.SerializeToString(), timeout=5).code() not in NOT_YET
