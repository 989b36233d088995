"""Every method, at every port, for every kind of caller: who is let in is what the table here says, and nobody else.

The table is written by hand, so that a change of the contract is seen twice. Nothing that is sent can be decoded: who is let in is told
so, and no handler is entered.
"""

from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

import parade.v1
from parade.client import Mesh
from parade.v1.session_pb2 import SessionCall
from parade.v1.value_pb2 import Value
from parade.wire.certificates import MemorySource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, SERVICES, Identity, Kind
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import PROTOBUF, SCHEDULER_SESSION
from tests.support.hostile.ports import AGENT, ENROLMENT, NAMES, Ports

GARBAGE = b"\xff\xff\xff"

EVERYBODY = "client agent agent_manager dispatcher scheduler gateway monitor"
PEOPLE = "client gateway"
READERS = "client agent gateway scheduler"
CALLERS = "client agent scheduler gateway"
RUNNERS = "client agent gateway"

TABLE = {
    "parade.v1.AgentManagerService": {
        "CreateJoinToken": PEOPLE,
        "Enroll": "anonymous",
        "RenewCertificate": "agent",
        "RegisterInstance": "agent",
        "Heartbeat": "agent",
        "Deregister": "agent",
        "GetAgent": READERS,
        "ListAgents": READERS,
        "ListFunctions": READERS,
        "WatchAgents": "client gateway dispatcher",
        "PauseAgent": PEOPLE,
        "ResumeAgent": PEOPLE,
        "DrainInstance": PEOPLE,
        "ListCertificates": "client gateway agent_manager",
        "RevokeCertificate": "client gateway agent_manager",
        "WatchAccess": "dispatcher scheduler gateway monitor",
    },
    "parade.v1.AgentService": {
        "Describe": "dispatcher agent_manager",
        "Invoke": "dispatcher",
        "InvokeStream": "dispatcher",
        "Session": "dispatcher",
    },
    "parade.v1.DispatcherService": {
        "Call": CALLERS,
        "CallStream": CALLERS,
        "BatchCall": CALLERS,
        "Session": CALLERS,
        "StartCall": CALLERS,
        "GetCall": CALLERS,
        "WaitCall": CALLERS,
        "CancelCall": CALLERS,
        "ListCalls": RUNNERS,
        "ListCallApprovals": PEOPLE,
        "GetCallApproval": PEOPLE,
        "ResolveCallApproval": PEOPLE,
    },
    "parade.v1.GatewayService": {"PutArtifact": RUNNERS, "GetArtifact": RUNNERS},
    "parade.v1.AuditService": {
        "ListAudit": PEOPLE,
        "ExportAudit": PEOPLE,
        "VerifyAudit": PEOPLE,
        "GetAuditCheckpoint": PEOPLE,
    },
    "parade.v1.KeyService": {
        "CreateKey": PEOPLE,
        "ListKeys": PEOPLE,
        "RevokeKey": PEOPLE,
        "GrantRole": PEOPLE,
        "RevokeRole": PEOPLE,
        "ListRoles": PEOPLE,
        "WhoAmI": PEOPLE,
        "AuthenticateKey": "gateway",
    },
    "parade.v1.RefusalService": {"ReportRefusals": "gateway"},
    "parade.v1.PolicyService": {
        "PutPolicy": PEOPLE,
        "GetPolicy": PEOPLE,
        "ListPolicies": PEOPLE,
        "DeletePolicy": PEOPLE,
        "TestPolicy": PEOPLE,
        "ExplainPolicy": PEOPLE,
    },
    "parade.v1.MonitorService": {"QueryLogs": PEOPLE, "TailLogs": PEOPLE, "GetTrace": PEOPLE},
    "parade.v1.SchedulerService": {
        "PutWorkflow": RUNNERS,
        "CheckWorkflow": RUNNERS,
        "GetWorkflow": RUNNERS,
        "ListWorkflows": RUNNERS,
        "StartRun": RUNNERS,
        "Session": "client agent",
        "GetRun": RUNNERS,
        "WaitRun": RUNNERS,
        "ListRuns": RUNNERS,
        "WatchRun": RUNNERS,
        "CancelRun": RUNNERS,
        "CancelRuns": RUNNERS,
        "PauseRun": RUNNERS,
        "ResumeRun": RUNNERS,
        "SignalRun": RUNNERS,
        "ListApprovals": RUNNERS,
        "ResolveApproval": RUNNERS,
        "RerunFromStep": RUNNERS,
        "RerunRuns": RUNNERS,
        "ForkRun": RUNNERS,
        "PublishEvent": RUNNERS,
        "PutSchedule": RUNNERS,
        "GetSchedule": RUNNERS,
        "ListSchedules": RUNNERS,
        "DeleteSchedule": RUNNERS,
    },
    "grpc.health.v1.Health": {"Check": EVERYBODY, "List": EVERYBODY, "Watch": EVERYBODY},
    "opentelemetry.proto.collector.logs.v1.LogsService": {"Export": EVERYBODY},
    "opentelemetry.proto.collector.metrics.v1.MetricsService": {"Export": EVERYBODY},
    "opentelemetry.proto.collector.trace.v1.TraceService": {"Export": EVERYBODY},
}
"""Who may call what, by service and method."""

AUDIT = "parade.v1.AuditService"
MANAGED = {"parade.v1.AgentManagerService", "parade.v1.KeyService", "parade.v1.PolicyService", "parade.v1.RefusalService"}
HEALTH = "grpc.health.v1.Health"
SERVED = {
    "agent_manager": {*MANAGED, AUDIT, HEALTH},
    ENROLMENT: {*MANAGED, AUDIT, HEALTH},
    "dispatcher": {"parade.v1.DispatcherService", AUDIT, HEALTH},
    "scheduler": {"parade.v1.SchedulerService", AUDIT, HEALTH},
    "gateway": {"parade.v1.GatewayService", HEALTH},
    "monitor": {"parade.v1.MonitorService", AUDIT, HEALTH, *(service for service in TABLE if service.startswith("opentelemetry."))},
    AGENT: {"parade.v1.AgentService"},
}
"""What is served at each port; the rest is not known there."""

CALLER = {
    Kind.ANONYMOUS: ANONYMOUS,
    Kind.CLIENT: Identity.client("developer"),
    Kind.AGENT: Identity.agent("intruder", "i-00000000"),
    **{kind: Identity.service(name) for name, kind in SERVICES.items()},
}
"""One caller of each kind; the client is an administrator, and so is whom the services act for."""

LET_IN = grpc.StatusCode.INVALID_ARGUMENT
"""What is answered to bytes that cannot be decoded, once it is known that their sender may call."""


FOREIGN = (health_pb2, logs_service_pb2, metrics_service_pb2, trace_service_pb2)


def services() -> dict[str, ServiceDescriptor]:
    """Returns every service there is: ours, and those of others' contracts that we serve."""
    ours = (import_module(f"parade.v1.{module.name}") for module in iter_modules(parade.v1.__path__) if module.name.endswith("_pb2"))
    modules: list[Any] = [*ours, *FOREIGN]
    return {service.full_name: service for module in modules for service in module.DESCRIPTOR.services_by_name.values()}


@pytest.fixture
async def ports(mesh: Mesh) -> Ports:
    return Ports(mesh.file, (await mesh.agent("tested")).instances[0])


async def answered(channel: grpc.aio.Channel, method: MethodDescriptor, caller: Identity, *, let_in: bool) -> grpc.StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    acting = caller.kind is not Kind.ANONYMOUS and not caller.namespace
    metadata = on_behalf_of("default", Identity.client("developer").uri, Role.ADMIN) if acting else ()
    plain: Any
    if method.client_streaming:
        plain = channel.stream_stream(path) if method.server_streaming else channel.stream_unary(path)
        call = plain(timeout=10, metadata=metadata)
        if let_in:  # who is refused is told before anything is read, and gRPC's client can take that for a fault while it writes
            with suppress(grpc.aio.AioRpcError):
                await call.write(GARBAGE)
    else:
        plain = channel.unary_stream(path) if method.server_streaming else channel.unary_unary(path)
        call = plain(GARBAGE, timeout=10, metadata=metadata)
    code: grpc.StatusCode = await call.code()
    return code


def expected(port: str, method: MethodDescriptor, kind: Kind) -> grpc.StatusCode:
    """Returns what the table says: how a method answers to a kind of caller."""
    if kind is Kind.ANONYMOUS and port != ENROLMENT:
        return grpc.StatusCode.UNAVAILABLE  # the handshake fails
    service = method.containing_service.full_name
    if service not in SERVED[port]:
        return grpc.StatusCode.UNIMPLEMENTED
    shown = Kind.ANONYMOUS if port == ENROLMENT else kind  # the enrolment port asks for no certificate
    if shown.lower() in TABLE[service][method.name].split():
        return LET_IN
    return grpc.StatusCode.UNAUTHENTICATED if shown is Kind.ANONYMOUS else grpc.StatusCode.PERMISSION_DENIED


def test_the_table_names_every_method_there_is() -> None:
    assert {name: set(rows) for name, rows in TABLE.items()} == {
        name: {method.name for method in service.methods} for name, service in services().items()
    }


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", NAMES)
async def test_every_method_lets_in_whom_the_table_names_and_nobody_else(ports: Ports, name: str, kind: Kind) -> None:
    said, wanted = {}, {}
    async with ports.channel(ports.by_name[name], CALLER[kind]) as channel:
        for service in services().values():
            for method in service.methods:
                wanted[method.full_name] = code = expected(name, method, kind)
                said[method.full_name] = await answered(channel, method, CALLER[kind], let_in=code is LET_IN)

    assert said == wanted


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ANONYMOUS])
async def test_by_session_the_scheduler_lets_nobody_do_more(ports: Ports, kind: Kind) -> None:
    port = ports.by_name["scheduler"]
    table = TABLE["parade.v1.SchedulerService"]
    admitted = kind.lower() in table["Session"].split()
    said, wanted = {}, {}
    source = MemorySource(ports.certificates(CALLER[kind]))
    async with Channel(port.address, source, port.server_name) as channel:
        link = Link([channel], SCHEDULER_SESSION)
        try:
            for method in services()["parade.v1.SchedulerService"].methods:
                if method.client_streaming or method.server_streaming:
                    continue
                said[method.name] = await asked_by_session(SessionCaller(link), method.name)
                let_in = admitted and kind.lower() in table[method.name].split()
                wanted[method.name] = Reason.INVALID_ARGUMENTS if let_in else Reason.PERMISSION_DENIED
        finally:
            await link.close()

    assert said == wanted


async def asked_by_session(caller: SessionCaller, method: str) -> Reason:
    call = SessionCall(function=method, arguments=Value(data=GARBAGE, media_type=PROTOBUF))
    with pytest.raises(ParadeError) as failed:
        await caller.call(call, 10)
    return failed.value.reason
