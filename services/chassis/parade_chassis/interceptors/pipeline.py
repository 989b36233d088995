"""Puts the concerns around a handler, whatever its shape. It knows the order and gRPC's handler types, and no concern.

An open stream keeps what stands here for as long as it lives, and a service may have thousands: so it is one coroutine for each, and no
stack of context managers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Any

import grpc

from parade.wire.decoding import decoding, the_request
from parade.wire.open_requests import OpenRequest, OpenRequests
from parade_chassis.context import current

Context = grpc.aio.ServicerContext[Any, Any]
Concern = Callable[[str, Context], Callable[[], None] | None]
"""What to do before a handler, given the method's name and gRPC's context; it refuses by raising, and returns what to do at the end."""
Failing = Callable[[str, Context, Exception], Awaitable[None]]
"""What makes of a failure the RPC's status, by aborting it."""

Read = Callable[[Context], Awaitable[Any]]
"""Reads the one request of a method that takes one."""

Still = Callable[[str], Callable[[], None] | None]
"""What raises once the current request of a method may not go on; nothing where it may for as long as its caller is believed."""


class Pipeline(grpc.aio.ServerInterceptor):
    """Runs every handler inside the concerns, the first outermost."""

    def __init__(
        self, *concerns: "Concern", failing: "Failing", under_way: OpenRequests | None = None, still: "Still | None" = None
    ) -> None:
        """Takes what stands around every handler.

        Args:
            concerns: What is done before and after, in this order. The first enters the request's facts where `under_way` is given.
            failing: What is done where a concern or the handler raises, before the concerns end.
            under_way: Knows the requests that the handlers serve, and ends those whose caller is not believed any more.
            still: Gives what ends those that their caller may not go on with.
        """
        self._concerns = concerns
        self._failing = failing
        self._under_way = under_way
        self._still = still
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        """By method, for making one costs as much as a small handler does."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler with the concerns around it; gRPC answers UNIMPLEMENTED by itself where there is none."""
        method = str(handler_call_details.method)
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        made = self._handlers[method] = self._around(method, handler)
        return made

    def _around(self, method: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
        decode, coders = decoding(handler.request_deserializer), {"response_serializer": handler.response_serializer}
        # To gRPC every method takes a stream: a single request is read here, inside the concerns (see `the_request`).
        read = None if handler.request_streaming else partial(the_request, decode)
        if read is None:
            coders["request_deserializer"] = decode
        if handler.response_streaming:
            streamed = self._streaming(method, handler.stream_stream or handler.unary_stream, read)
            return grpc.stream_stream_rpc_method_handler(streamed, **coders)
        return grpc.stream_unary_rpc_method_handler(self._answering(method, handler.stream_unary or handler.unary_unary, read), **coders)

    def _answering(self, method: str, inner: Any, read: "Read | None") -> Any:
        async def answer(request: Any, context: Context) -> Any:
            endings: list[Callable[[], None]] = []
            opened: OpenRequest | None = None
            try:
                opened = self._begin(method, context, endings, lasting=False)
                return await inner(request if read is None else await read(context), context)
            except (Exception, asyncio.CancelledError) as error:
                await self._failed(method, context, opened, error)
                raise
            finally:
                for ending in reversed(endings):
                    ending()

        return answer

    def _streaming(self, method: str, inner: Any, read: "Read | None") -> Any:
        # A coroutine that writes, where a generator would do too: the handler is one already, and each takes its part of every message.
        async def stream(request: Any, context: Context) -> None:
            endings: list[Callable[[], None]] = []
            opened: OpenRequest | None = None
            try:
                opened = self._begin(method, context, endings, lasting=True)
                responses = inner(request if read is None else await read(context), context)
                if isawaitable(responses):  # gRPC's own health servicer, which writes its responses itself
                    await responses
                    return
                try:
                    async for response in responses:
                        await context.write(response)
                finally:
                    await responses.aclose()
            except (Exception, asyncio.CancelledError) as error:
                await self._failed(method, context, opened, error)
                raise
            finally:
                for ending in reversed(endings):
                    ending()

        return stream

    def _begin(self, method: str, context: Context, endings: list[Callable[[], None]], *, lasting: bool) -> OpenRequest | None:
        for concern in self._concerns:
            ending = concern(method, context)
            if ending is not None:
                endings.append(ending)
        if self._under_way is None:
            return None
        still = None if self._still is None else self._still(method)
        opened = self._under_way.enter(current().peer, still, lasting=lasting)
        endings.append(partial(self._under_way.leave, opened))
        return opened

    async def _failed(self, method: str, context: Context, opened: OpenRequest | None, error: BaseException) -> None:
        if isinstance(error, Exception):
            await self._failing(method, context, error)
        elif opened is not None and opened.failure is not None:  # cancelled by us; where its caller did that, nobody waits for a status
            await self._failing(method, context, opened.failure)
