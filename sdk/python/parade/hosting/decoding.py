"""Reads what an agent's server receives. Who sends it passes the gate first, and what cannot be decoded leaves by it as a typed failure."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from parade.hosting.gate import Gate
from parade.wire.decoding import decoding, the_request


class Decoding(grpc.aio.ServerInterceptor):
    """Reads and decodes in gRPC's place, which would wait for anybody, answer UNKNOWN and log a traceback."""

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
        # To gRPC all take a stream: a single request is read here, once it is known who sends it (see `the_request`).
        method = str(handler_call_details.method).rpartition("/")[2]
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._streaming(method, handler.unary_stream, decode), None, encode)
        return grpc.stream_unary_rpc_method_handler(self._answering(method, handler.unary_unary, decode), None, encode)

    def _answering(self, method: str, inner: Any, decode: Callable[[bytes], Any]) -> Any:
        async def answer(_: Any, context: Any) -> Any:
            return await inner(await self._read(method, context, decode), context)

        return answer

    def _streaming(self, method: str, inner: Any, decode: Callable[[bytes], Any]) -> Any:
        async def stream(_: Any, context: Any) -> AsyncIterator[Any]:
            request = await self._read(method, context, decode)
            async with aclosing(inner(request, context)) as responses:
                async for response in responses:
                    yield response

        return stream

    async def _read(self, method: str, context: Any, decode: Callable[[bytes], Any]) -> Any:
        async with self._gate.passing(method, context):
            return await the_request(decode, context)
