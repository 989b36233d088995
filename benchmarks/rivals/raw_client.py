"""A plain gRPC client as a program of its own: starts, asks the raw server once, ends. Arguments: the mesh's folder, the address."""

import sys
from pathlib import Path

import grpc

from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc, value_pb2

folder, address = Path(sys.argv[1]) / "certificates", sys.argv[2]
credentials = grpc.ssl_channel_credentials(
    (folder / "ca.pem").read_bytes(), (folder / "client.key").read_bytes(), (folder / "client.pem").read_bytes()
)
options = [("grpc.ssl_target_name_override", "dispatcher.parade.local")]
with grpc.secure_channel(address, credentials, options) as channel:
    request = dispatcher_pb2.CallRequest(function="echo.echo", arguments=value_pb2.Value(data=b"{}"))
    sys.stdout.write(f"{dispatcher_pb2_grpc.DispatcherServiceStub(channel).Call(request).result.data!r}\n")
