"""Every port of a mesh that speaks gRPC, every method that is served there, and who may call it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from parade.v1 import (
    access_pb2,
    agent_manager_pb2,
    agent_pb2,
    audit_pb2,
    dispatcher_pb2,
    gateway_pb2,
    key_pb2,
    monitor_pb2,
    policy_pb2,
    refusal_pb2,
    scheduler_pb2,
)
from parade.wire.certificates import Certificates
from parade.wire.identity import ANONYMOUS, SERVICES, Identity, Kind
from parade.wire.mesh_file import MeshFile
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade.wire.tls import channel_credentials
from tests.integration.test_access import MeshAuthority

NAMESPACE = "hostile"
"""Where everybody here is: what they do to each other is nobody else's business."""
INTRUDER = Identity.client("intruder", NAMESPACE)
"""A client; it does harm only where it is let in (see `roles`)."""
ENROLMENT, AGENT = "enrolment", "agent"
NAMES = (*SERVICES, ENROLMENT, AGENT)
"""The ports."""

_MODULES: dict[str, tuple[Any, ...]] = {
    "agent_manager": (agent_manager_pb2, key_pb2, policy_pb2, refusal_pb2, audit_pb2),
    "dispatcher": (dispatcher_pb2, audit_pb2),
    "scheduler": (scheduler_pb2, audit_pb2),
    "gateway": (gateway_pb2,),
    "monitor": (monitor_pb2, logs_service_pb2, metrics_service_pb2, trace_service_pb2),
    AGENT: (agent_pb2,),
}


@dataclass(frozen=True)
class Method:
    """One method."""

    descriptor: MethodDescriptor

    @cached_property
    def path(self) -> str:
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @cached_property
    def request(self) -> type[Message]:
        return message_factory.GetMessageClass(self.descriptor.input_type)

    @cached_property
    def response(self) -> type[Message]:
        return message_factory.GetMessageClass(self.descriptor.output_type)

    @property
    def is_session(self) -> bool:
        return self.descriptor.output_type.name == "SessionFrame"

    @cached_property
    def caller(self) -> Identity:
        """One who may call it; where several may, one who is believed least."""
        numbers = self.descriptor.GetOptions().Extensions[access_pb2.callers]
        kinds = {Kind(access_pb2.CallerKind.Name(number).removeprefix("CALLER_KIND_")) for number in numbers} or {Kind.CLIENT}
        return next(identity for kind, identity in _CALLERS.items() if kind in kinds)


_CALLERS = {
    Kind.ANONYMOUS: ANONYMOUS,
    Kind.CLIENT: INTRUDER,
    Kind.AGENT: Identity.agent("intruder", "i-00000000", NAMESPACE),
    **{kind: Identity.service(name) for name, kind in SERVICES.items()},
}


@dataclass(frozen=True)
class Port:
    """One port of a running mesh."""

    name: str
    address: str
    server_name: str
    methods: tuple[Method, ...]


class Ports:
    """The ports of a running mesh, and the way in."""

    def __init__(self, mesh: MeshFile, instance: agent_manager_pb2.Instance) -> None:
        """Takes the mesh and an instance of an agent."""
        addresses = {**mesh.services, ENROLMENT: mesh.enrolment, AGENT: instance.address}
        self._authority = MeshAuthority(mesh)
        self._shown: dict[Identity, Certificates] = {}
        self.by_name = {name: Port(name, addresses[name], _server_name(name, instance), tuple(_methods(name))) for name in NAMES}

    @property
    def trust_bundle(self) -> bytes:
        return self._authority.trust_bundle

    def certificates(self, identity: Identity) -> Certificates:
        """Returns what `identity` shows."""
        if identity not in self._shown:
            self._shown[identity] = self._authority.certificates(identity)
        return self._shown[identity]

    def channel(self, port: Port, caller: Identity) -> grpc.aio.Channel:
        """Returns a plain channel; its user closes it."""
        nobody = caller.kind is Kind.ANONYMOUS
        credentials = grpc.ssl_channel_credentials(self.trust_bundle) if nobody else channel_credentials(self.certificates(caller))
        options = [("grpc.ssl_target_name_override", port.server_name), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(port.address, credentials, options)


def said_by(caller: Identity) -> tuple[tuple[str, str], ...]:
    """Returns the metadata of a request: a service says for whom it acts."""
    return (
        ()
        if caller.namespace or caller.kind is Kind.ANONYMOUS
        else on_behalf_of(NAMESPACE, f"spiffe://parade.local/ns/{NAMESPACE}/client/x", Role.ADMIN)
    )


def _server_name(name: str, instance: agent_manager_pb2.Instance) -> str:
    if name == AGENT:
        return instance.server_name
    return Identity.service("agent_manager" if name == ENROLMENT else name).server_name


def _methods(name: str) -> Iterator[Method]:
    if name == ENROLMENT:
        yield Method(agent_manager_pb2.DESCRIPTOR.services_by_name["AgentManagerService"].methods_by_name["Enroll"])
        return
    modules = _MODULES[name] if name == AGENT else (*_MODULES[name], health_pb2)
    for module in modules:
        services: list[ServiceDescriptor] = list(module.DESCRIPTOR.services_by_name.values())
        for service in services:
            # Enrolling is for those who have no certificate yet, and they get in at the port for it alone.
            yield from (Method(method) for method in service.methods if method.name != "Enroll")
