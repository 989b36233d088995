"""Results as agents send them."""

from parade.v1 import session_pb2


def inline(data: bytes) -> session_pb2.SessionResult:
    """Returns a result that travels as itself."""
    result = session_pb2.SessionResult()
    result.result.data = data  # costs half of what the constructors of both messages do
    return result
