"""Calls that come one by one, by `Invoke` and `InvokeStream`: run as those of a session are."""

import asyncio
from collections.abc import Callable
from typing import Any

from parade.hosting.exchange import UNBOUNDED
from parade.hosting.executor import Executor
from parade.v1 import agent_pb2, session_pb2
from parade.wire.status import from_record

WINDOW = 256 * 1024
"""Bytes of items that may wait for gRPC to take them."""

Request = agent_pb2.InvokeRequest | agent_pb2.InvokeStreamRequest


class Alone:
    """Who waits for one call that came by itself."""

    def __init__(self, window: int = 0) -> None:
        """Takes how many bytes of items may wait; 0 where nobody reads what the call says."""
        self.window = window
        self.cancelled: Callable[[bool], None] | None = None
        self.credited: Callable[[], None] | None = None
        self._said: list[session_pb2.SessionEvent] = []
        self._result: session_pb2.SessionResult | None = None
        self._waiting: asyncio.Future[None] | None = None

    def answer(self, result: session_pb2.SessionResult) -> None:
        """Takes the result."""
        self._result = result
        self._wake()

    def tell(self, event: session_pb2.SessionEvent) -> None:
        """Takes an event."""
        if event.HasField("item"):
            self.window -= event.item.ByteSize() or 1
        self._said.append(event)
        self._wake()

    async def result(self) -> session_pb2.SessionResult:
        """Waits for the result.

        Raises:
            ParadeError: What the call failed with.
        """
        while self._result is None:
            await self._more()
        if self._result.HasField("error"):
            raise from_record(self._result.error)
        return self._result

    async def events(self) -> list[session_pb2.SessionEvent]:
        """Waits for what the call says, and makes room for as much; nothing once it has ended."""
        while not self._said and self._result is None:
            await self._more()
        said, self._said = self._said, []
        return said

    def read(self, event: session_pb2.SessionEvent) -> None:
        """Makes room for as much as an event took."""
        if event.HasField("item"):
            self.window += event.item.ByteSize() or 1
            if self.credited is not None:
                self.credited()

    def end(self) -> None:
        """Cancels the call, unless it has ended."""
        if self._result is None and self.cancelled is not None:
            self.cancelled(False)

    async def _more(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def begin(executor: Executor, request: Request, context: Any, window: int = 0) -> Alone:
    """Begins a call.

    Args:
        executor: What runs it.
        request: The request.
        context: gRPC's context of it, for the deadline and the caller's span.
        window: Bytes of items that may wait; 0 where nobody reads what the call says.
    """
    metadata = dict(context.invocation_metadata() or ())
    traceparent = metadata.get("traceparent", "")
    remaining = context.time_remaining()
    call = session_pb2.SessionCall(
        function=f"{executor.host.agent}.{request.function}",
        timeout=0.0 if remaining is None or remaining > UNBOUNDED else max(0.001, remaining),
        window=window,
        traceparent=traceparent if isinstance(traceparent, str) else "",
    )
    call.arguments.CopyFrom(request.arguments)
    call.origin.CopyFrom(request.origin)
    call.options.call_id = request.call_id
    alone = Alone(window)
    executor.begin(call, alone)
    return alone
