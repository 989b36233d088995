"""The services behind the gateway: one channel each, and any of their RPCs by its descriptor."""

from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import Message

from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.metadata import on_behalf_of
from parade_chassis.lifecycle import Process
from parade_gateway.config import Config
from parade_gateway.routes import Route, message_class


class Upstream:
    """The channels, made when they are first needed."""

    def __init__(self, process: Process[Config]) -> None:
        """Takes the process, whose configuration says where the services are."""
        self._process = process
        self._channels: dict[str, Channel] = {}
        self._callers: dict[str, Callable[..., Any]] = {}

    async def __aenter__(self) -> Self:
        """Returns itself; the channels are closed at the end of the block."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            await channel.close()

    async def call(self, route: Route, request: Message, caller: Identity, timeout: float | None) -> Message:
        """Calls an RPC with one answer.

        Raises:
            ParadeError: What the service answered, or UNAVAILABLE where there is none.
        """
        response: Message = await self._caller(route)(request, timeout=timeout, metadata=on_behalf_of(caller.namespace, caller.uri))
        return response

    def stream(self, route: Route, request: Message, caller: Identity, timeout: float | None) -> AsyncGenerator[Message]:
        """Calls an RPC with a stream of answers, which are fetched as they are asked for.

        Raises:
            ParadeError: UNAVAILABLE where the service is nowhere; what it answers is raised by the stream.
        """
        stream: AsyncGenerator[Message] = self._caller(route)(request, timeout=timeout, metadata=on_behalf_of(caller.namespace, caller.uri))
        return stream

    def _caller(self, route: Route) -> Callable[..., Any]:
        if route.rpc not in self._callers:
            channel = self._channel(route.service)
            make = channel.unary_stream if route.streams else channel.unary_unary
            request, response = message_class(route.method.input_type), message_class(route.method.output_type)
            self._callers[route.rpc] = make(route.rpc, request.SerializeToString, response.FromString)
        return self._callers[route.rpc]

    def _channel(self, service: str) -> Channel:
        if service not in self._channels:
            target = getattr(self._process.config, service, "")
            if not target:
                raise ParadeError(Reason.UNAVAILABLE, f"this gateway has not been told where the {service} is")
            self._channels[service] = self._process.channel(service, target)
        return self._channels[service]
