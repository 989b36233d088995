"""Servers on loopback for those that a test speaks for."""

import secrets
import socket
from typing import Any, Final

import grpc

from parade.wire.certificates import CertificateSource
from parade.wire.tls import server_credentials

_PORTS: Final = range(10_000, 20_000)
"""Below those that connections and meshes are given, one of which could take a port before its server listens."""


def free_port() -> int:
    """Returns a port that nobody listens on."""
    while True:
        port = secrets.choice(_PORTS)  # of its own: Hypothesis seeds `random` the same in every worker
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def listens(address: str) -> bool:
    """Returns whether somebody takes connections at an address."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def serving(
    servicer: object, module: Any, name: str, source: CertificateSource, address: str = "127.0.0.1:0"
) -> tuple[grpc.aio.Server, str]:
    """Starts a server with one servicer and returns it with its address.

    Args:
        servicer: What answers.
        module: The generated `_pb2_grpc` module of its service.
        name: The service.
        source: The certificates to show.
        address: Where it listens; on a free port unless given.
    """
    server = grpc.aio.server(options=(("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)))
    getattr(module, f"add_{name}Servicer_to_server")(servicer, server)
    port = server.add_secure_port(address, server_credentials(source))
    await server.start()
    return server, f"127.0.0.1:{port}"
