"""Calling functions through the dispatcher: for clients, and for agents that call one another."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration

from parade import values
from parade.v1 import dispatcher_pb2
from parade.v1.dispatcher_pb2_grpc import DispatcherServiceStub
from parade.wire.channel import Channel

DEFAULT_TIMEOUT = 60.0
"""Seconds that a call may take where its caller does not say."""
MARGIN = 0.25
"""Seconds that the connection waits longer than the call may take, so that the dispatcher's answer, which says more, comes first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come."""

    fraction: float
    """From 0 to 1; negative where it is not known."""
    message: str
    """What is being done now."""


class Caller:
    """Calls functions over a channel to the dispatcher."""

    def __init__(self, channel: Channel) -> None:
        """Takes the channel; whoever made it closes it."""
        self._stub = DispatcherServiceStub(channel.for_stubs())

    async def call(self, function: str, arguments: Mapping[str, Any], timeout: float | None = None) -> Any:
        """Calls a function and returns its result.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name.
            timeout: Seconds to wait at most; 60 where not given. The function's own timeout may be shorter.

        Raises:
            ParadeError: With the reason why there is no result.
        """
        limit = DEFAULT_TIMEOUT if timeout is None else timeout
        request = dispatcher_pb2.CallRequest(function=function, arguments=values.encode(arguments, "arguments"), timeout=_duration(limit))
        response = await self._stub.Call(request, timeout=limit + MARGIN)
        return values.decode(response.result)

    async def stream(self, function: str, arguments: Mapping[str, Any], timeout: float | None = None) -> AsyncIterator[Any]:
        """Calls a function and yields its items as they come; of a function that is not streaming, its result.

        Progress is passed over; see `events`. Arguments and errors are those of `call`.
        """
        async for event in self.events(function, arguments, timeout):
            if not isinstance(event, Progress):
                yield event

    async def events(self, function: str, arguments: Mapping[str, Any], timeout: float | None = None) -> AsyncIterator[Any]:
        """Calls a function and yields `Progress` notes and items, or the result, as they come. Arguments and errors are those of `call`."""
        limit = DEFAULT_TIMEOUT if timeout is None else timeout
        request = dispatcher_pb2.CallStreamRequest(
            function=function, arguments=values.encode(arguments, "arguments"), timeout=_duration(limit)
        )
        async for response in self._stub.CallStream(request, timeout=limit + MARGIN):
            match response.WhichOneof("event"):
                case "progress":
                    yield Progress(response.progress.fraction, response.progress.message)
                case "item":
                    yield values.decode(response.item)
                case "result":
                    yield values.decode(response.result)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(max(1, int(seconds * 1e9)))
    return duration
