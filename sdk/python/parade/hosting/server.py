"""An instance's server: mutual TLS with whatever certificate is newest, and an end that lets calls finish."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from parade.hosting.decoding import Decoding
from parade.hosting.servicer import AgentServicer
from parade.v1 import agent_pb2, agent_pb2_grpc
from parade.wire import listener
from parade.wire.certificates import CertificateSource
from parade.wire.channel import MAX_MESSAGE_BYTES
from parade.wire.session.serving import register_sessions
from parade.wire.tls import server_credentials

STOP_TIMEOUT = 1.0
"""Seconds that answers already given may take to leave."""

MAX_REQUESTS = 1024
"""Requests at once; the rest are refused. A dispatcher has one, its session, whatever it has the instance run."""

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # two instances on one port would share its calls without a word
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),  # dispatchers ask after idle connections; without this they are sent away
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


@asynccontextmanager
async def listening(servicer: AgentServicer, source: CertificateSource, address: str) -> AsyncIterator[int]:
    """Serves while the block runs and gives the port.

    Args:
        servicer: The service.
        source: The instance's certificates.
        address: `host:port`; port 0 takes a free one.

    Raises:
        OSError: The address cannot be listened on.
    """
    server = listener.server(options=OPTIONS, interceptors=[Decoding(servicer.gate)], max_requests=MAX_REQUESTS)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(servicer, server)
    register_sessions(server, servicer, agent_pb2.DESCRIPTOR.services_by_name["AgentService"])
    try:
        port = server.add_secure_port(address, server_credentials(source))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
    await server.start()
    try:
        yield port
    finally:
        await server.stop(STOP_TIMEOUT)
