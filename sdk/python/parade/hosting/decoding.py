"""Decodes what an agent's server receives. What cannot be decoded passes the gate as every request does, and leaves as a typed failure."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from parade.hosting.gate import Gate
from parade.wire.decoding import decoding
from parade.wire.errors import ParadeError


class Decoding(grpc.aio.ServerInterceptor):
    """Decodes in gRPC's place, which would answer UNKNOWN and log a traceback."""

    def __init__(self, gate: Gate) -> None:
        """Takes who lets requests in."""
        self._gate = gate

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler with its decoding replaced; gRPC answers UNIMPLEMENTED by itself where there is none."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        decode, encode = decoding(handler.request_deserializer), handler.response_serializer
        if handler.request_streaming:
            # A stream's messages are read inside the gate already, and the decoder's error leaves by it.
            return grpc.stream_stream_rpc_method_handler(handler.stream_stream, decode, encode)
        method = str(handler_call_details.method).rpartition("/")[2]
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, handler.unary_stream, decode), None, encode)
        return grpc.unary_unary_rpc_method_handler(self._answering(method, handler.unary_unary, decode), None, encode)

    def _answering(self, method: str, inner: Any, decode: Callable[[bytes], Any]) -> Any:
        async def answer(data: bytes, context: Any) -> Any:
            return await inner(await self._decoded(method, data, context, decode), context)

        return answer

    def _streaming(self, method: str, inner: Any, decode: Callable[[bytes], Any]) -> Any:
        async def stream(data: bytes, context: Any) -> AsyncIterator[Any]:
            request = await self._decoded(method, data, context, decode)
            async with aclosing(inner(request, context)) as responses:
                async for response in responses:
                    yield response

        return stream

    async def _decoded(self, method: str, data: bytes, context: Any, decode: Callable[[bytes], Any]) -> Any:
        try:
            return decode(data)
        except ParadeError as error:
            async with self._gate.passing(method, context):
                raise error from None
