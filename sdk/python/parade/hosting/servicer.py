"""`AgentService`: decodes a call, has it run, encodes what comes of it. It decides nothing."""

from typing import Any

from parade.hosting import contract
from parade.hosting.executor import Executor
from parade.hosting.gate import Gate
from parade.hosting.reports import Note
from parade.v1 import agent_pb2, agent_pb2_grpc, value_pb2


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    """Serves one instance."""

    def __init__(self, gate: Gate, executor: Executor, description: agent_pb2.DescribeResponse) -> None:
        """Takes who is let in, what runs the calls, and what the instance says of itself."""
        self._gate = gate
        self._executor = executor
        self._description = description

    async def Describe(self, request: agent_pb2.DescribeRequest, context: Any) -> agent_pb2.DescribeResponse:
        """Tells which agent this is."""
        async with self._gate.passing("Describe", context):
            return self._description

    async def Invoke(self, request: agent_pb2.InvokeRequest, context: Any) -> agent_pb2.InvokeResponse:
        """Runs a function and returns its result."""
        async with self._gate.passing("Invoke", context):
            result = await self._executor.run(contract.call(request, context))
            return agent_pb2.InvokeResponse(result=value_pb2.Value(data=result or b"null"))

    async def InvokeStream(self, request: agent_pb2.InvokeStreamRequest, context: Any) -> None:  # type: ignore[override]  # gRPC allows it
        """Runs a function and writes what it says.

        It writes by itself, where the generated interface has a generator: items come from the function's own task.
        """

        async def write(said: Note | bytes) -> None:
            await context.write(contract.event(said))

        async with self._gate.passing("InvokeStream", context):
            result = await self._executor.run(contract.call(request, context), write)
            if result is not None:
                await context.write(agent_pb2.InvokeStreamResponse(result=value_pb2.Value(data=result)))
