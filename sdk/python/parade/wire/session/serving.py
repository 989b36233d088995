"""Has a server send the frames of sessions as the acceptor made them: encoded already, each entry once."""

from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from parade.v1 import session_pb2


def register_sessions(server: grpc.aio.Server, servicer: object, service: ServiceDescriptor) -> None:
    """Registers a servicer's sessions anew, after the generated code has: frames that arrive are decoded, those that leave are bytes.

    Args:
        server: The server, before it starts.
        servicer: The service. Its sessions give what `Acceptor.serve` gives.
        service: Its descriptor; one without sessions is passed over.
    """
    frame = session_pb2.SessionFrame.DESCRIPTOR.full_name
    handlers: dict[str, Any] = {
        method.name: grpc.stream_stream_rpc_method_handler(getattr(servicer, method.name), session_pb2.SessionFrame.FromString, None)
        for method in service.methods
        if method.output_type.full_name == frame
    }
    if handlers:
        server.add_registered_method_handlers(service.full_name, handlers)
