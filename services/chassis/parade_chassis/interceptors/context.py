"""The first concern: reads who is asking, before anything else can need it."""

from typing import Any

import grpc

from parade_chassis import context as request_context


class ContextConcern:
    """Makes the request's facts available to everything below."""

    def __init__(self, domain: str) -> None:
        """Takes the trust domain whose names are believed."""
        self._domain = domain

    def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Reads the facts from the connection and the metadata."""
        metadata = dict(context.invocation_metadata() or ())
        request_context.enter(request_context.of_request(method, context.auth_context(), metadata, self._domain))
