"""Every method that somebody outside may call, for every role and for none: by certificate, by the gateway's word, by session, by REST.

The table is written by hand, so that a change of the contract is seen twice. Nothing that is sent is a request that could be carried out:
who is let in is told so, and nothing happens.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from parade.client import Mesh
from parade.v1 import access_pb2, key_pb2, key_pb2_grpc
from parade.v1.session_pb2 import SessionCall
from parade.v1.value_pb2 import Value
from parade.wire.certificates import MemorySource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION, PROTOBUF, SCHEDULER_SESSION
from parade.wire.tls import channel_credentials
from parade_gateway.routes import public_services
from tests.integration.test_access import MeshAuthority
from tests.support.asking import SERVED_BY
from tests.support.roles import let_in

GARBAGE = b"\xff\xff\xff"

TABLE = {
    "AgentManagerService": {
        Role.VIEWER: "GetAgent ListAgents ListFunctions WatchAgents",
        Role.OPERATOR: "PauseAgent ResumeAgent DrainInstance",
        Role.ADMIN: "CreateJoinToken ListCertificates RevokeCertificate",
    },
    "AuditService": {Role.ADMIN: "ListAudit ExportAudit VerifyAudit GetAuditCheckpoint"},
    "DispatcherService": {
        Role.VIEWER: "GetCall WaitCall ListCalls ListCallApprovals GetCallApproval",
        Role.DEVELOPER: "Call CallStream BatchCall Session StartCall CancelCall",
        Role.OPERATOR: "ResolveCallApproval",
    },
    "GatewayService": {Role.VIEWER: "GetArtifact", Role.DEVELOPER: "PutArtifact"},
    "KeyService": {Role.VIEWER: "WhoAmI", Role.ADMIN: "CreateKey ListKeys RevokeKey GrantRole RevokeRole ListRoles"},
    "PolicyService": {
        Role.VIEWER: "GetPolicy ListPolicies",
        Role.DEVELOPER: "TestPolicy ExplainPolicy",
        Role.ADMIN: "PutPolicy DeletePolicy",
    },
    "MonitorService": {Role.VIEWER: "QueryLogs TailLogs GetTrace"},
    "SchedulerService": {
        Role.VIEWER: "CheckWorkflow GetWorkflow ListWorkflows Session GetRun WaitRun ListRuns WatchRun ListApprovals "
        "GetSchedule ListSchedules",
        Role.DEVELOPER: "PutWorkflow StartRun CancelRun PauseRun ResumeRun SignalRun RerunFromStep ForkRun PublishEvent PutSchedule "
        "DeleteSchedule",
        Role.OPERATOR: "CancelRuns ResolveApproval RerunRuns",
    },
}
"""The least role that may call each method."""
NEEDED = {f"{service}.{name}": role for service, rows in TABLE.items() for role, names in rows.items() for name in names.split()}

CLIENTS = {role: Identity.client(f"role-{role.label}") for role in Role}
METHODS = {
    f"{service.name}.{method.name}": method
    for service in public_services()
    for method in service.methods
    if access_pb2.CALLER_KIND_CLIENT in method.GetOptions().Extensions[access_pb2.callers]
}
"""Every method that clients may call."""


@pytest.fixture(scope="session")
def role_mesh(shared_mesh: MeshFile) -> MeshFile:
    """The shared mesh, with a client of each role and one of none."""
    for role, client in CLIENTS.items():
        if role is not Role.NONE:
            let_in(shared_mesh, client, role=role.label)  # type: ignore[arg-type]
    return shared_mesh


@asynccontextmanager
async def channel_to(mesh: MeshFile, service: str, identity: Identity) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.ssl_target_name_override", Identity.service(service).server_name)]
    credentials = channel_credentials(MeshAuthority(mesh).certificates(identity))
    async with grpc.aio.secure_channel(mesh.services[service], credentials, options) as channel:
        yield channel


async def let_through(channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Any = ()) -> bool:
    """Tells whether a method is entered: bytes that cannot be decoded come as far as who sends them."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    plain: Any
    if method.client_streaming:
        plain = channel.stream_stream(path) if method.server_streaming else channel.stream_unary(path)
        call = plain(iter([GARBAGE]), timeout=10, metadata=metadata)
        while await call.code() is grpc.StatusCode.INTERNAL:  # so says gRPC of a write that fails, until the answer has come in
            await asyncio.sleep(0.01)
    else:
        plain = channel.unary_stream(path) if method.server_streaming else channel.unary_unary(path)
        call = plain(GARBAGE, timeout=10, metadata=metadata)
    code = await call.code()
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED), (path, code)
    return bool(code is grpc.StatusCode.INVALID_ARGUMENT)


def test_the_table_names_every_method_that_clients_may_call() -> None:
    assert set(NEEDED) == set(METHODS)


@pytest.mark.parametrize("role", Role)
async def test_a_certificate_opens_what_its_holders_role_allows(role_mesh: MeshFile, role: Role) -> None:
    said = {}
    for service, server in SERVED_BY.items():
        async with channel_to(role_mesh, server, CLIENTS[role]) as channel:
            for name, method in METHODS.items():
                if name.startswith(f"{service}."):
                    said[name] = await let_through(channel, method)

    assert said == {name: role >= needed for name, needed in NEEDED.items()}


@pytest.mark.parametrize("role", Role)
async def test_services_hold_the_gateway_to_the_role_that_it_says(role_mesh: MeshFile, role: Role) -> None:
    metadata = on_behalf_of("default", "key:0123456789", role)
    said, wanted = {}, {}
    for service, server in SERVED_BY.items():
        async with channel_to(role_mesh, server, Identity.service("gateway")) as channel:
            for name, method in METHODS.items():
                if not name.startswith(f"{service}.") or name == "SchedulerService.Session":
                    continue
                said[name] = await let_through(channel, method, metadata)
                # Its session with the dispatcher is for many, and says with each call what its caller may do.
                wanted[name] = role >= NEEDED[name] or name == "DispatcherService.Session"

    assert said == wanted


@pytest.mark.parametrize("role", Role)
async def test_by_session_nobody_does_more(role_mesh: MeshFile, role: Role) -> None:
    source = MemorySource(MeshAuthority(role_mesh).certificates(CLIENTS[role]))
    said, wanted = {}, {}
    async with Channel(role_mesh.services["scheduler"], source, Identity.service("scheduler").server_name) as channel:
        link = Link([channel], SCHEDULER_SESSION)
        try:
            for name, method in METHODS.items():
                if name.startswith("SchedulerService.") and not (method.client_streaming or method.server_streaming):
                    call = SessionCall(function=method.name, arguments=Value(data=GARBAGE, media_type=PROTOBUF))
                    with pytest.raises(ParadeError) as caught:
                        await SessionCaller(link).call(call, 10)
                    said[name] = caught.value.reason
                    wanted[name] = Reason.INVALID_ARGUMENTS if role >= NEEDED[name] else Reason.PERMISSION_DENIED
        finally:
            await link.close()

    assert said == wanted


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.NONE])
async def test_a_key_opens_what_its_role_allows(role_mesh: MeshFile, mesh: Mesh, role: Role) -> None:
    made = await mesh.create_key(f"of a {role.label}", role.label)  # type: ignore[arg-type]
    said, wanted = {}, {}
    async with httpx.AsyncClient(base_url=role_mesh.rest, headers={"x-api-key": made.secret}, timeout=20) as client:
        for name, method in METHODS.items():
            verb, path = rest(method)
            if not verb:
                continue
            response = await client.request(verb, path, params={"nosuch": "1"}, json={"nosuch": 1} if verb == "POST" else None)
            assert response.status_code in (400, 403), (name, response.text)
            said[name] = response.status_code == 400
            wanted[name] = role >= NEEDED[name]

    assert said == wanted
    assert len(said) > 40


async def test_a_key_whose_maker_has_lost_its_role_opens_nothing(role_mesh: MeshFile, mesh: Mesh) -> None:
    maker = Identity.client("leaver")
    let_in(role_mesh, maker)
    stub, channel = key_service(role_mesh, maker)
    async with channel:
        made = await stub.CreateKey(key_pb2.CreateKeyRequest(name="left behind", role=access_pb2.ROLE_ADMIN))
    async with httpx.AsyncClient(base_url=role_mesh.rest, headers={"x-api-key": made.secret}, timeout=20) as client:
        before = (await client.get("/v1/agents")).status_code
        await mesh.revoke_role(maker.uri)

        async with asyncio.timeout(10):
            while (status := (await client.get("/v1/agents")).status_code) == before:
                await asyncio.sleep(0.1)

    assert (before, status) == (200, 403)


@pytest.mark.parametrize("session", [DISPATCHER_SESSION, SCHEDULER_SESSION])
async def test_an_open_session_ends_within_ten_seconds_of_its_clients_role(role_mesh: MeshFile, mesh: Mesh, session: str) -> None:
    service = "dispatcher" if session == DISPATCHER_SESSION else "scheduler"
    client = Identity.client(f"leaver-{service}")
    let_in(role_mesh, client, role="developer")
    source = MemorySource(MeshAuthority(role_mesh).certificates(client))
    call = (
        SessionCall(function="tested.echo", arguments=Value(data=b'{"text": "a"}'))
        if session == DISPATCHER_SESSION
        else SessionCall(function="ListRuns", arguments=Value(media_type=PROTOBUF))
    )
    async with Channel(role_mesh.services[service], source, Identity.service(service).server_name) as channel:
        link = Link([channel], session)
        try:
            before = await SessionCaller(link).call(call, 10)
            await mesh.revoke_role(client.uri)

            async with asyncio.timeout(10):
                with pytest.raises(ParadeError) as caught:
                    await call_for_ever(link, call)
        finally:
            await link.close()

    assert before.HasField("result")
    assert caught.value.reason is Reason.PERMISSION_DENIED


async def call_for_ever(link: Link, call: SessionCall) -> None:
    while True:
        await SessionCaller(link).call(call, 10)


def key_service(mesh: MeshFile, identity: Identity) -> tuple[Any, Channel]:
    source = MemorySource(MeshAuthority(mesh).certificates(identity))
    channel = Channel(mesh.services["agent_manager"], source, Identity.service("agent_manager").server_name)
    return key_pb2_grpc.KeyServiceStub(channel.for_stubs()), channel


def rest(method: MethodDescriptor) -> tuple[str, str]:
    """Returns verb and path of a method's route; empty texts where it has none."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return "", ""
    rule = options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern") or ""
    path = getattr(rule, verb)
    for field in method.input_type.fields:
        path = path.replace(f"{{{field.name}}}", "a.b" if field.name == "function" else "a")
    return verb.upper(), path
