"""The connections to instances: one session each, opened at the first call and closed when the instance has gone. It decides nothing.

An instance that serves no sessions is called by Invoke and InvokeStream, a task each.
"""

import asyncio
from typing import Any

from parade.v1 import agent_pb2_grpc, session_pb2
from parade.wire.certificates import CertificateSource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.mandate_issuer import Issuer
from parade.wire.session.link import Link
from parade.wire.session.methods import AGENT_SESSION
from parade.wire.session.opener import LostError, Sent
from parade.wire.status import from_record
from parade_dispatcher import convert, entries
from parade_dispatcher.invocation import Invocation
from parade_dispatcher.model import Call, Content, Instance
from parade_dispatcher.ports import Receiver, Sending

HEADS = 256
"""Beginnings of calls that a connection keeps."""
LONGEST = 1e9
"""Seconds that an instance is believed to have taken at most: thirty years, which a result can carry on."""


class Connections:
    """Reaches instances."""

    def __init__(self, certificates: CertificateSource, issuer: Issuer, tasks: asyncio.TaskGroup, log: Log) -> None:
        """Starts without a connection.

        Args:
            certificates: What to show to instances.
            issuer: Makes the mandates that go with calls.
            tasks: Where calls without a session run, and connections are closed.
            log: Where sessions say what became of them.
        """
        self._certificates = certificates
        self._issuer = issuer
        self._tasks = tasks
        self._log = log
        self._connections: dict[str, _Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def send(self, instance: Instance, call: Call, deadline: float, receiver: Receiver) -> Sending:
        """Hands a call to an instance.

        Args:
            instance: The instance.
            call: What it is asked to run.
            deadline: When the call must have ended, by the event loop's clock; infinite where it need not.
            receiver: Who hears of it, never before this returns.

        Raises:
            ParadeError: NO_CAPACITY where too much waits to be written already; FAILED_PRECONDITION where no mandate can be made.
        """
        connection = self._connections.get(instance.id)
        if connection is None:
            channel = Channel(instance.address, self._certificates, instance.server_name, peer=f"{instance.agent} ({instance.id})")
            connection = self._connections[instance.id] = _Connection(instance, channel, self._issuer, self._tasks, self._log)
        link = connection.link
        if link.unimplemented:
            return connection.invoke(call, deadline, receiver)
        delivery = _Delivery(connection, call, deadline, receiver)
        delivery.sent = link.send(connection.entry(call, deadline), delivery, deadline, call.window)
        return delivery

    def forget(self, instance_id: str) -> None:
        """Closes the connection to an instance that has gone. What still ran there is lost."""
        connection = self._connections.pop(instance_id, None)
        if connection is not None:
            task = self._tasks.create_task(connection.close(), name="close a connection")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes all connections; calls that run are cancelled."""
        connections = list(self._connections.values())
        self._connections.clear()
        for connection in connections:
            await connection.close()


class _Connection:
    __slots__ = ("_channel", "_heads", "_instance", "_invocations", "_issuer", "_now", "_prefix", "_stub", "_tasks", "link")

    def __init__(self, instance: Instance, channel: Channel, issuer: Issuer, tasks: asyncio.TaskGroup, log: Log) -> None:
        self.link = Link([channel], AGENT_SESSION, log=log)
        self._instance = instance
        self._channel = channel
        self._issuer = issuer
        self._now = asyncio.get_running_loop().time
        self._tasks = tasks
        self._stub: Any = agent_pb2_grpc.AgentServiceStub(channel.for_stubs())
        self._prefix = f"{instance.agent}."
        self._heads: dict[tuple[str, bytes], bytes] = {}
        self._invocations: set[Invocation] = set()

    def entry(self, call: Call, deadline: float) -> bytes:
        """Encodes a call. What calls have in common is encoded once; their mandate says whom and which run they are for."""
        mandate = self._mandate(call, deadline)
        key = (call.function, mandate)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            head = self._heads[key] = entries.call_head(self._prefix + call.function, call, mandate)
        return entries.call_entry(head, call)

    def invoke(self, call: Call, deadline: float, receiver: Receiver) -> Sending:
        """Calls the instance without a session."""
        invocation = Invocation(self._stub, self._instance, call, self._mandate(call, deadline), deadline, receiver, self._ended)
        self._invocations.add(invocation)
        if call.attach:
            missing = ParadeError(Reason.NOT_FOUND, f"{self._instance.id} serves no sessions and keeps no calls")
            asyncio.get_running_loop().call_soon(receiver.failed, missing, 0.0, 0.0)
            self._ended(invocation)
        else:
            invocation.start(self._tasks)
        return invocation

    async def close(self) -> None:
        for invocation in list(self._invocations):
            invocation.abandon()
        await self.link.close()
        await self._channel.close()

    def _mandate(self, call: Call, deadline: float) -> bytes:
        left = deadline - self._now()
        return self._issuer.mandate(call.principal, call.namespace, call.run_id, self._instance.agent, call.scope, left)

    def _ended(self, invocation: Invocation) -> None:
        self._invocations.discard(invocation)


class _Delivery:
    """A call on its way by session: hears of it from the link and tells the engine, and the other way round."""

    __slots__ = ("_call", "_connection", "_deadline", "_receiver", "sent")

    def __init__(self, connection: _Connection, call: Call, deadline: float, receiver: Receiver) -> None:
        self._connection = connection
        self._call = call
        self._deadline = deadline
        self._receiver = receiver
        self.sent: Sent | Sending | None = None

    # What the engine asks for.

    def cancel(self) -> None:
        if self.sent is not None:
            self.sent.cancel()

    def abandon(self) -> None:
        if self.sent is not None:
            self.sent.abandon()

    def grant(self, size: int) -> None:
        if self.sent is not None:
            self.sent.grant(size)

    # What the link tells.

    def answered(self, result: session_pb2.SessionResult) -> None:
        self.sent = None  # it knows this delivery: so both are freed now, not when garbage is next collected
        receiver, queued, executing = self._receiver, result.queued_us * 1e-6, result.executing_us * 1e-6
        if queued > LONGEST or executing > LONGEST:  # an instance may say anything
            queued, executing = min(queued, LONGEST), min(executing, LONGEST)
        if result.HasField("error"):
            receiver.failed(from_record(result.error), queued, executing)
            return
        value = result.result
        content: Content | None = value.data
        if not content or value.media_type:  # neither is usual
            try:
                content = convert.returned(value, "result") if result.HasField("result") else None
            except ParadeError as error:
                receiver.failed(error, queued, executing)
                return
        receiver.answered(content, queued, executing)

    def told(self, event: session_pb2.SessionEvent) -> None:
        match event.WhichOneof("event"):
            case "item":
                try:
                    self._receiver.item(convert.returned(event.item, "item"))
                except ParadeError as error:
                    self.abandon()
                    self._receiver.failed(error, 0.0, 0.0)
            case "progress":
                self._receiver.progressed(convert.progress(event.progress))
            case "cancellation":
                self._receiver.cancelling(convert.cancellation(event.cancellation))
            case _:
                return  # an instance does not say which instance has the call

    def lost(self, error: LostError) -> None:
        if not error.sent and self._connection.link.unimplemented:
            self.sent = self._connection.invoke(self._call, self._deadline, self._receiver)
        else:
            self._receiver.lost(error.message, error.sent)
