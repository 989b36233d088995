"""The replicas of one service: a channel to each, and another where one is away."""

import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any, Self, cast

import grpc

from parade.wire.certificates import CertificateSource
from parade.wire.channel import Channel, targets
from parade.wire.errors import ParadeError, Reason


class Replicas:
    """The channels to the replicas of one service, for use with the generated stubs.

    It stays with one replica, which it picks by chance, until that is away. A unary request then goes to the others in turn, so every one
    must be safe to repeat. A stream that breaks is for its reader to open again: it goes to the next replica.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        """Takes the channels, at least one; whoever made them may close them by `close`."""
        self.channels = tuple(channels)
        self._at = random.randrange(len(self.channels))  # noqa: S311  # spreads load, guards nothing

    @classmethod
    def at(cls, addresses: str, source: CertificateSource, server_name: str, *, peer: str = "") -> "Replicas":
        """Returns the replicas at `host:port`, or at several addresses with commas between. See `Channel`."""
        return cls([Channel(target, source, server_name, peer=peer) for target in targets(addresses)])

    async def __aenter__(self) -> Self:
        """Returns the replicas; their channels are closed at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every channel."""
        await self.close()

    async def close(self) -> None:
        """Closes every channel; calls that run are cancelled."""
        for channel in self.channels:
            await channel.close()

    def for_stubs(self) -> grpc.aio.Channel:
        """Returns the replicas as the generated stubs want a channel."""
        return cast(grpc.aio.Channel, self)

    def unary_unary(self, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method with one request and one response. Called by the generated stubs."""
        callers = [channel.unary_unary(*method, **more) for channel in self.channels]

        async def call(request: Any, **named: Any) -> Any:
            for left in range(len(callers), 0, -1):
                tried = self._at
                try:
                    return await callers[tried](request, **named)
                except ParadeError as error:
                    self._leave(tried, error)
                    if error.reason is not Reason.UNAVAILABLE or left == 1:
                        raise
            raise AssertionError("the last attempt returns or raises")

        return call

    def unary_stream(self, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method with one request and a stream of responses. Called by the generated stubs."""
        callers = [channel.unary_stream(*method, **more) for channel in self.channels]

        def call(request: Any, **named: Any) -> AsyncIterator[Any]:
            return self._responses(lambda at: callers[at](request, **named))

        return call

    def stream_unary(self, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method with a stream of requests and one response. Called by the generated stubs."""
        callers = [channel.stream_unary(*method, **more) for channel in self.channels]

        async def call(requests: AsyncIterable[Any], **named: Any) -> Any:
            tried = self._at
            try:
                return await callers[tried](requests, **named)
            except ParadeError as error:
                self._leave(tried, error)
                raise

        return call

    def stream_stream(self, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method with streams in both directions. Called by the generated stubs."""
        callers = [channel.stream_stream(*method, **more) for channel in self.channels]

        def call(requests: AsyncIterable[Any], **named: Any) -> AsyncIterator[Any]:
            return self._responses(lambda at: callers[at](requests, **named))

        return call

    async def _responses(self, start: Callable[[int], Any]) -> AsyncIterator[Any]:
        tried = self._at
        responses = start(tried)
        try:
            async for response in responses:
                yield response
        except ParadeError as error:
            self._leave(tried, error)
            raise
        finally:
            await responses.aclose()

    def _leave(self, tried: int, error: ParadeError) -> None:
        """Turns to the next replica where one is away; of many requests that learn of it at once only the first turns."""
        if error.reason is Reason.UNAVAILABLE and self._at == tried:
            self._at = (tried + 1) % len(self.channels)
