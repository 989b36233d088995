"""Puts the concerns around a handler, whatever its shape. It knows the order and gRPC's handler types, and no concern."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import grpc

Concern = Callable[[str, grpc.aio.ServicerContext[Any, Any]], AbstractAsyncContextManager[None]]


class Pipeline(grpc.aio.ServerInterceptor):
    """Runs every handler inside the concerns, the first outermost."""

    def __init__(self, *concerns: "Concern") -> None:
        """Takes the concerns: each makes, of a method's name and gRPC's context, what to do before and after."""
        self._concerns = concerns

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler with the concerns around it; gRPC answers UNIMPLEMENTED by itself where there is none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        coders = {"request_deserializer": handler.request_deserializer, "response_serializer": handler.response_serializer}
        if handler.response_streaming:
            streamed = handler.stream_stream if handler.request_streaming else handler.unary_stream
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            return make(self._streaming(method, streamed), **coders)
        unary = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make_unary = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        return make_unary(self._answering(method, unary), **coders)

    def _answering(self, method: str, inner: Any) -> Any:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with AsyncExitStack() as stack:
                for concern in self._concerns:
                    await stack.enter_async_context(concern(method, context))
                return await inner(request, context)

        return answer

    def _streaming(self, method: str, inner: Any) -> Any:
        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with AsyncExitStack() as stack:
                for concern in self._concerns:
                    await stack.enter_async_context(concern(method, context))
                responses = inner(request, context)
                stack.push_async_callback(responses.aclose)
                async for response in responses:
                    yield response

        return stream
