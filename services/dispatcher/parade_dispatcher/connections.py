"""The connections to instances: one channel each, opened at the first call and closed when the instance has gone. It decides nothing."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from parade.v1 import agent_pb2_grpc
from parade.wire.certificates import CertificateSource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError
from parade_dispatcher import convert, failure
from parade_dispatcher.model import Call, Instance, Said


class _Connection:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.stub: Any = agent_pb2_grpc.AgentServiceStub(channel)  # type: ignore[call-overload]
        self.calls = 0
        self.unwanted = False


class Connections:
    """Reaches instances by gRPC."""

    def __init__(self, certificates: CertificateSource, tasks: asyncio.TaskGroup) -> None:
        """Starts without a connection.

        Args:
            certificates: What to show to instances.
            tasks: Where connections are closed in the background.
        """
        self._certificates = certificates
        self._tasks = tasks
        self._connections: dict[str, _Connection] = {}

    async def invoke(self, instance: Instance, call: Call, timeout: float) -> bytes:
        """Runs a function at an instance and returns its result.

        Raises:
            LostError: The instance went away.
            TimeoutError: The time passed.
            ParadeError: What the instance answered.
        """
        with self._connection(instance) as connection:
            try:
                response = await connection.stub.Invoke(convert.invoke_request(call), timeout=timeout)
            except ParadeError as error:
                raise failure.of_rpc(error, instance) from error
            return convert.result(response)

    async def stream(self, instance: Instance, call: Call, timeout: float) -> AsyncGenerator[Said, None]:
        """Runs a function at an instance and yields what it says. Raises as `invoke` does."""
        with self._connection(instance) as connection:
            responses = connection.stub.InvokeStream(convert.invoke_stream_request(call), timeout=timeout)
            try:
                async with aclosing(responses):
                    async for response in responses:
                        yield convert.said(response)
            except ParadeError as error:
                raise failure.of_rpc(error, instance) from error

    def forget(self, instance_id: str) -> None:
        """Closes the connection to an instance that has gone, once the calls on it have ended."""
        connection = self._connections.pop(instance_id, None)
        if connection is not None:
            connection.unwanted = True
            self._close_unused(connection)

    async def close(self) -> None:
        """Closes all connections; calls that run are cancelled."""
        for connection in self._connections.values():
            await connection.channel.close()
        self._connections.clear()

    @contextmanager
    def _connection(self, instance: Instance) -> Iterator[_Connection]:
        connection = self._connections.get(instance.id)
        if connection is None:
            channel = Channel(instance.address, self._certificates, instance.server_name, peer=f"{instance.agent} ({instance.id})")
            connection = self._connections[instance.id] = _Connection(channel)
        connection.calls += 1
        try:
            yield connection
        finally:
            connection.calls -= 1
            self._close_unused(connection)

    def _close_unused(self, connection: _Connection) -> None:
        if connection.unwanted and connection.calls == 0:
            self._tasks.create_task(connection.channel.close(), name="close a connection")
