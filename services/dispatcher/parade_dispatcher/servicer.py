"""DispatcherService: decodes, asks the engine, encodes."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from parade_chassis.context import current, required_namespace
from parade_dispatcher import convert
from parade_dispatcher.engine import Engine


class DispatcherServicer(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Serves calls."""

    def __init__(self, engine: Engine) -> None:
        """Takes the engine that makes the calls."""
        self._engine = engine

    async def Call(self, request: dispatcher_pb2.CallRequest, context: grpc.aio.ServicerContext[Any, Any]) -> dispatcher_pb2.CallResponse:
        """Calls a function and returns its result."""
        asked = convert.request(request, current(), required_namespace(), context.time_remaining())
        return convert.answer(await self._engine.call(asked))

    async def CallStream(
        self, request: dispatcher_pb2.CallStreamRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:
        """Calls a function and yields what becomes of it."""
        asked = convert.request(request, current(), required_namespace(), context.time_remaining())
        async with aclosing(self._engine.stream(asked)) as events:
            async for event in events:
                yield convert.event(event)
