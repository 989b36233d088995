"""Puts the concerns around a handler, whatever its shape. It knows the order and gRPC's handler types, and no concern.

An open stream keeps what stands here for as long as it lives, and a service may have thousands: so it is one coroutine for each, and no
stack of context managers.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

import grpc

from parade.wire.decoding import decoding

Context = grpc.aio.ServicerContext[Any, Any]
Concern = Callable[[str, Context], Callable[[], None] | None]
"""What to do before a handler, given the method's name and gRPC's context; it refuses by raising, and returns what to do at the end."""
Failing = Callable[[str, Context, Exception], Awaitable[None]]
"""What makes of a failure the RPC's status, by aborting it."""


class Pipeline(grpc.aio.ServerInterceptor):
    """Runs every handler inside the concerns, the first outermost."""

    def __init__(self, *concerns: "Concern", failing: "Failing") -> None:
        """Takes what stands around every handler.

        Args:
            concerns: What is done before and after, in this order.
            failing: What is done where a concern or the handler raises, before the concerns end.
        """
        self._concerns = concerns
        self._failing = failing
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
        decode = decoding(handler.request_deserializer)
        # A single request is decoded here, inside the concerns: nothing that a caller sends is looked at before it is known who they are.
        coders = {"request_deserializer": decode if handler.request_streaming else None, "response_serializer": handler.response_serializer}
        if handler.response_streaming:
            streamed = handler.stream_stream if handler.request_streaming else _decoded(handler.unary_stream, decode)
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            return make(self._streaming(method, streamed), **coders)
        unary = handler.stream_unary if handler.request_streaming else _decoded(handler.unary_unary, decode)
        make_unary = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        return make_unary(self._answering(method, unary), **coders)

    def _answering(self, method: str, inner: Any) -> Any:
        async def answer(request: Any, context: Context) -> Any:
            endings: list[Callable[[], None]] = []
            try:
                self._begin(method, context, endings)
                return await inner(request, context)
            except Exception as error:
                await self._failing(method, context, error)
                raise
            finally:
                for ending in reversed(endings):
                    ending()

        return answer

    def _streaming(self, method: str, inner: Any) -> Any:
        # A coroutine that writes, where a generator would do too: the handler is one already, and each takes its part of every message.
        async def stream(request: Any, context: Context) -> None:
            endings: list[Callable[[], None]] = []
            try:
                self._begin(method, context, endings)
                responses = inner(request, context)
                if isawaitable(responses):  # gRPC's own health servicer, which writes its responses itself
                    await responses
                    return
                try:
                    async for response in responses:
                        await context.write(response)
                finally:
                    await responses.aclose()
            except Exception as error:
                await self._failing(method, context, error)
                raise
            finally:
                for ending in reversed(endings):
                    ending()

        return stream

    def _begin(self, method: str, context: Context, endings: list[Callable[[], None]]) -> None:
        for concern in self._concerns:
            ending = concern(method, context)
            if ending is not None:
                endings.append(ending)


def _decoded(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    return lambda data, context: inner(decode(data), context)
