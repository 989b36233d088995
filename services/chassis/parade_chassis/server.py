"""The one server: mutual TLS always, the interceptors in their order, health, and an end that breaks no request."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from parade.wire import listener
from parade.wire.channel import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from parade.wire.identity import Kind
from parade.wire.open_requests import OpenRequests
from parade.wire.session.serving import register_sessions
from parade.wire.tls import server_credentials
from parade_chassis.audit_decisions import Decisions
from parade_chassis.interceptors.authorization import AllowList, AuthorizationConcern, allow_list, needed_roles
from parade_chassis.interceptors.context import ContextConcern
from parade_chassis.interceptors.errors import ErrorsConcern
from parade_chassis.interceptors.pipeline import Pipeline
from parade_chassis.interceptors.telemetry import TelemetryConcern
from parade_chassis.lifecycle import Process
from parade_chassis.sessions import Requests, SessionServicer

MAX_CONCURRENT_REQUESTS = 4096
"""Requests at once; the rest are refused with RESOURCE_EXHAUSTED."""
MAX_STREAMS = MAX_CONCURRENT_REQUESTS // 2
"""Requests at once on one connection; further ones wait at who makes them, so that one connection cannot take all places."""
MAX_CONCURRENT_ENROLMENTS = 1024
"""Requests at once on the enrolment port. Anybody may make them, so they take no place of those that show a certificate."""
MAX_CONCURRENT_PROBES = 64
"""Probes at once, which anybody may make."""

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.so_reuseport", 0),  # two processes on one port would share its connections without a word
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),  # clients ask after idle connections; without this they are sent away after a minute
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

STRANGERS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_concurrent_streams", 16),
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
)
"""For the enrolment port: who enrols asks once and goes."""

MANY_CONNECTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.tsi.max_frame_size", 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_channel_trace_event_memory_per_node", 0),
)
"""For a server with thousands of connections that carry little each: TLS records of 1 KiB, for which a connection keeps 7 kB less, no pings
that measure its bandwidth, and no account of what befell it. A large message costs more processor time, and is as good."""

_EVERYBODY = frozenset(Kind) - {Kind.ANONYMOUS}
_HEALTH_ROWS: AllowList = {
    "/grpc.health.v1.Health/Check": _EVERYBODY,
    "/grpc.health.v1.Health/Watch": _EVERYBODY,
    "/grpc.health.v1.Health/List": _EVERYBODY,
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    address: str
    """Where it listens: `host:port`."""
    enrolment_address: str
    """Where callers without a certificate can enrol; empty for nowhere."""
    health_address: str
    """Where health alone is served without TLS; empty for nowhere."""


@asynccontextmanager
async def running(
    process: Process[Any],
    *servicers: object,
    foreign: AllowList | None = None,
    enrolment_listen: str = "",
    options: Iterable[tuple[str, Any]] = (),
    drain: Callable[[], Awaitable[None]] | None = None,
    decisions: Decisions | None = None,
) -> AsyncIterator[Server]:
    """Serves while the block runs, then stops gracefully.

    Healthy from the first line of the block. At its end health says NOT_SERVING, what `drain` lets end has its time, no new request is
    taken, those under way may finish within `drain_timeout`, and what is left is cancelled.

    Args:
        process: The process that serves.
        servicers: Subclasses of the generated servicers. Streaming methods must be asynchronous generators.
        foreign: The allow list of methods whose contract is not ours.
        enrolment_listen: Where to listen with TLS for callers that have no certificate yet. They reach what admits ANONYMOUS, nothing else.
        options: What is set of gRPC beside the options of every server.
        drain: Lets end what lasts longer than a request, such as the calls of a session, while requests are still taken.
        decisions: Takes down who is refused, where the service has an audit log.

    Raises:
        ValueError: A method has no row in the allow list.
        RuntimeError: An address cannot be listened on.
    """
    config = process.config
    healthy = HealthServicer()
    descriptors = [_descriptor(servicer) for servicer in servicers]
    health_descriptor: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]
    rows = allow_list([*descriptors, health_descriptor], {**_health_rows(health_descriptor), **(foreign or {})})
    authorization = AuthorizationConcern(rows, needed_roles(descriptors), process.grants)
    telemetry, errors = TelemetryConcern(process.telemetry), ErrorsConcern(process.log, decisions)
    under_way = OpenRequests(process.peers)
    unsubscribe = process.grants.subscribe(under_way.look)
    concerns = ContextConcern(process.peers), telemetry, authorization
    pipeline = Pipeline(*concerns, failing=errors, under_way=under_way, still=authorization.still)
    server = listener.server(interceptors=[pipeline], options=(*OPTIONS, *options), max_requests=MAX_CONCURRENT_REQUESTS)
    strangers = None
    if enrolment_listen:
        strangers = listener.server(interceptors=[pipeline], options=(*OPTIONS, *STRANGERS), max_requests=MAX_CONCURRENT_ENROLMENTS)
    servers = [server] if strangers is None else [server, strangers]
    by_session = [servicer for servicer in servicers if isinstance(servicer, SessionServicer)]
    for opened in by_session:
        opened.requests = Requests(process, opened, _descriptor(opened), telemetry, authorization, errors, decisions)
    for one in servers:
        for servicer in servicers:
            _register(servicer, one)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, one)
    address = _listen(server, config.listen, server_credentials(process.certificates))
    enrolment = ""
    if strangers is not None:
        enrolment = _listen(strangers, enrolment_listen, server_credentials(process.certificates, require_client=False))
    probes = listener.server(interceptors=[Pipeline(failing=errors)], options=OPTIONS, max_requests=MAX_CONCURRENT_PROBES)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, probes)
    health_address = _listen(probes, config.health_listen, None) if config.health_listen else ""
    for one in (*servers, probes):
        await one.start()
    await _set_health(healthy, descriptors, health_pb2.HealthCheckResponse.SERVING)
    process.log.info("serving", address=address)
    try:
        yield Server(address, enrolment, health_address)
    finally:
        await _set_health(healthy, descriptors, health_pb2.HealthCheckResponse.NOT_SERVING)
        if drain is not None:
            await drain()
        await asyncio.gather(*(opened.requests.drain(config.drain_timeout) for opened in by_session))
        await asyncio.gather(*(one.stop(config.drain_timeout) for one in servers))
        await probes.stop(None)
        under_way.close()
        unsubscribe()


def _descriptor(servicer: object) -> ServiceDescriptor:
    module, name = _generated(servicer)
    messages: Any = sys.modules[module.removesuffix("_grpc")]
    descriptor: ServiceDescriptor = messages.DESCRIPTOR.services_by_name[name]
    return descriptor


def _register(servicer: object, server: grpc.aio.Server) -> None:
    module, name = _generated(servicer)
    getattr(sys.modules[module], f"add_{name}Servicer_to_server")(servicer, server)
    register_sessions(server, servicer, _descriptor(servicer))


def _generated(servicer: object) -> tuple[str, str]:
    for base in type(servicer).__mro__:
        if base.__module__.endswith("_pb2_grpc"):
            return base.__module__, base.__name__.removesuffix("Servicer")
    raise ValueError(f"{type(servicer).__name__} is not derived from a generated servicer")


def _health_rows(descriptor: ServiceDescriptor) -> Mapping[str, frozenset[Kind]]:
    names = {f"/{descriptor.full_name}/{method.name}" for method in descriptor.methods}
    return {name: kinds for name, kinds in _HEALTH_ROWS.items() if name in names}


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    if port == 0:
        raise RuntimeError(f"cannot listen on {address}")
    return f"{address.rpartition(':')[0]}:{port}"


async def _set_health(healthy: HealthServicer, services: Iterable[ServiceDescriptor], status: Any) -> None:
    async with asyncio.timeout(5):
        for name in [health.OVERALL_HEALTH, *(service.full_name for service in services)]:
            await healthy.set(name, status)
