"""Requests to a service over a session, for use with the generated stubs: what is asked by the thousand costs a tenth of a stream each."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
from opentelemetry.trace import get_current_span

from parade.v1 import session_pb2
from parade.wire.channel import DEFAULT_TIMEOUT
from parade.wire.errors import ParadeError, Reason
from parade.wire.replicas import Replicas
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import PROTOBUF
from parade.wire.session.outbox import REQUESTS
from parade.wire.telemetry import traceparent


class SessionReplicas:
    """The replicas of one service, of whose methods some go over a session with one of them; it opens at the first.

    A session that breaks is resumed, or another replica takes the requests again. What cannot be done over it goes by itself, as the other
    methods do: where the service knows no sessions, and where the session's replica answers UNAVAILABLE, for another may do it. So every
    request must be safe to repeat.
    """

    def __init__(self, replicas: Replicas, link: Link, methods: frozenset[str]) -> None:
        """Takes what it speaks through; see `over`."""
        self._replicas = replicas
        self._link = link
        self._methods = methods
        self._caller = SessionCaller(link)

    @classmethod
    @asynccontextmanager
    async def over(cls, replicas: Replicas, path: str, methods: frozenset[str]) -> "AsyncIterator[SessionReplicas]":
        """Opens a session for the time of a block.

        Args:
            replicas: The service; its channels stay open.
            path: The session's method, of `parade.wire.session.methods`.
            methods: The methods that go over it, as "StartRun": those whose answers are small.
        """
        link = Link(replicas.channels, path, pace=REQUESTS)
        try:
            yield cls(replicas, link, methods)
        finally:
            await link.close()

    def for_stubs(self) -> grpc.aio.Channel:
        """Returns the replicas as the generated stubs want a channel."""
        return cast(grpc.aio.Channel, self)

    def unary_unary(
        self, path: str, request_serializer: Callable[[Any], bytes], response_deserializer: Callable[[bytes], Any], **more: Any
    ) -> Callable[..., Any]:
        """Returns the caller of a method with one request and one response. Called by the generated stubs."""
        alone = self._replicas.unary_unary(path, request_serializer, response_deserializer, **more)
        method = path.rpartition("/")[2]
        if method not in self._methods:
            return alone

        async def call(request: Any, *, timeout: float | None = None) -> Any:
            left = DEFAULT_TIMEOUT if timeout is None else timeout
            until = time.monotonic() + left
            if not self._link.unimplemented:
                try:
                    return response_deserializer(await self._response(method, request_serializer(request), left))
                except ParadeError as error:
                    left = until - time.monotonic()
                    if error.reason is not Reason.UNAVAILABLE or left <= 0:
                        raise
            return await alone(request, timeout=left)

        return call

    def unary_stream(self, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method with one request and a stream of responses. Called by the generated stubs."""
        return self._replicas.unary_stream(*method, **more)

    def stream_stream(self, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method with streams in both directions. Called by the generated stubs."""
        return self._replicas.stream_stream(*method, **more)

    async def _response(self, method: str, request: bytes, timeout: float) -> bytes:
        call = session_pb2.SessionCall(function=method, traceparent=traceparent(get_current_span()))
        call.arguments.data = request
        call.arguments.media_type = PROTOBUF
        return (await self._caller.call(call, timeout)).result.data
