"""`AgentService`: has calls run and encodes what comes of them. It decides nothing."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from parade.hosting import unary
from parade.hosting.executor import Executor
from parade.hosting.gate import Gate
from parade.v1 import agent_pb2, agent_pb2_grpc
from parade.wire.session.acceptor import Acceptor


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    """Serves one instance."""

    def __init__(self, gate: Gate, executor: Executor, acceptor: Acceptor, description: agent_pb2.DescribeResponse) -> None:
        """Takes who is let in, what runs the calls, what carries many of them, and what the instance says of itself."""
        self._gate = gate
        self._executor = executor
        self._acceptor = acceptor
        self._description = description

    @property
    def gate(self) -> Gate:
        """Who is let in."""
        return self._gate

    async def Describe(self, request: agent_pb2.DescribeRequest, context: Any) -> agent_pb2.DescribeResponse:
        """Tells which agent this is."""
        async with self._gate.passing("Describe", context):
            return self._description

    async def Invoke(self, request: agent_pb2.InvokeRequest, context: Any) -> agent_pb2.InvokeResponse:
        """Runs a function and returns its result."""
        async with self._gate.passing("Invoke", context):
            call = unary.begin(self._executor, request, context)
            try:
                return agent_pb2.InvokeResponse(result=(await call.result()).result)
            finally:
                call.end()

    async def InvokeStream(self, request: agent_pb2.InvokeStreamRequest, context: Any) -> AsyncIterator[agent_pb2.InvokeStreamResponse]:
        """Runs a function and yields what it says."""
        async with self._gate.passing("InvokeStream", context):
            call = unary.begin(self._executor, request, context, unary.WINDOW)
            try:
                while events := await call.events():
                    for event in events:
                        if event.HasField("progress"):
                            yield agent_pb2.InvokeStreamResponse(progress=event.progress)
                        elif event.HasField("item"):
                            yield agent_pb2.InvokeStreamResponse(item=event.item)
                        call.read(event)
                result = await call.result()
                if result.HasField("result"):
                    yield agent_pb2.InvokeStreamResponse(result=result.result)
            finally:
                call.end()

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        """Runs many calls at once. Who calls is checked when the stream opens, and that they still may with every frame."""
        async with (
            self._gate.passing("Session", context) as peer,
            aclosing(self._acceptor.serve(request_iterator, peer.identity, partial(self._gate.check, peer))) as frames,
        ):
            async for frame in frames:
                yield frame
