"""The first concern: reads who is asking, before anything else can need it."""

from typing import Any

import grpc

from parade.wire.peers import Peers
from parade_chassis import context as request_context


class ContextConcern:
    """Makes the request's facts available to everything below."""

    def __init__(self, peers: Peers) -> None:
        """Takes what tells who calls."""
        self._peers = peers

    def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Reads the facts from the connection and the metadata; refuses whose certificate is not believed, or not any more."""
        metadata = dict(context.invocation_metadata() or ())
        request_context.enter(request_context.of_request(method, context.auth_context(), metadata, self._peers))
