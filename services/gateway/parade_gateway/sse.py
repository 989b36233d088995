"""Streams as Server-Sent Events: pulled message by message as the client takes them, kept alive, ended when either side leaves.

Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message
from starlette.types import Receive, Send

from parade.wire.errors import ParadeError, Reason
from parade_gateway.errors import body_of
from parade_gateway.transcode import encode

KEEPALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that nothing between takes the connection for dead."""
GRACE = 1.0
"""Seconds that a stream may take to its first message before it is opened without one. A refusal within them is the answer's own status."""
SEND_TIMEOUT = 60.0
"""Seconds that a client may take nothing before it counts as gone."""

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # proxies that would collect events pass them on at once
}
_COMMENT = b": keepalive\n\n"


class EventStream:
    """One stream on its way to one client."""

    def __init__(self, messages: AsyncGenerator[Message], receive: Receive, send: Send, closing: asyncio.Event, *, numbered: bool) -> None:
        """Takes both ends.

        Args:
            messages: What is sent; closing it cancels the RPC.
            receive: Tells of the client's end.
            send: Where the events go.
            closing: Set when the process ends, and every stream with it.
            numbered: Whether every message has an `event.sequence`, which becomes its id.
        """
        self._messages = messages
        self._receive = receive
        self._send = send
        self._closing = closing
        self._numbered = numbered
        self._opened = False

    async def run(self) -> None:
        """Sends everything. A stream that ends before its first message is answered by 204, which tells a browser not to come back.

        Raises:
            ParadeError: The stream failed before it was opened; nothing has been sent.
        """
        async with aclosing(self._messages), asyncio.TaskGroup() as tasks:
            gone = tasks.create_task(disconnected(self._receive))
            closing = tasks.create_task(self._ended())
            try:
                refusal = await self._pump(tasks, {gone, closing})
            finally:
                gone.cancel()
                closing.cancel()
        if refusal is not None:
            raise refusal

    async def _pump(self, tasks: asyncio.TaskGroup, leaving: set[asyncio.Task[None]]) -> ParadeError | None:
        pulled = tasks.create_task(self._pull())
        try:
            while True:
                timeout = KEEPALIVE if self._opened else GRACE
                done, _ = await asyncio.wait({pulled, *leaving}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if done & leaving:
                    return await self._leave()
                outcome = pulled.result() if pulled in done else _COMMENT
                if isinstance(outcome, ParadeError) and not self._opened:
                    return outcome
                if not isinstance(outcome, bytes):
                    await self._finish(outcome)
                    return None
                await self._write(outcome)
                if pulled in done:
                    pulled = tasks.create_task(self._pull())
        except TimeoutError:  # the client takes nothing; its connection is closed with the answer incomplete
            return None
        finally:
            pulled.cancel()

    async def _pull(self) -> bytes | ParadeError | None:
        """Returns the next event; the failure that ends the stream; or None at its end."""
        try:
            message: Any = await anext(self._messages, None)
            if message is None:
                return None
            number = b"id: %d\n" % message.event.sequence if self._numbered else b""
            return b"%sevent: message\ndata: %s\n\n" % (number, encode(message))
        except ParadeError as error:
            return error

    async def _leave(self) -> ParadeError | None:
        if not self._opened:
            return ParadeError(Reason.UNAVAILABLE, "the gateway is stopping, or the client has left")
        await self._write(b"", more=False)
        return None

    async def _finish(self, failure: ParadeError | None) -> None:
        if failure is not None:
            await self._write(b"event: error\ndata: %s\n\n" % body_of(failure), more=False)
        elif self._opened:
            await self._write(b"", more=False)
        else:
            await self._open(204, {"cache-control": "no-store"})
            await self._write(b"", more=False)

    async def _write(self, chunk: bytes, *, more: bool = True) -> None:
        if not self._opened:
            await self._open(200, HEADERS)
        async with asyncio.timeout(SEND_TIMEOUT):
            await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def _open(self, status: int, headers: Mapping[str, str]) -> None:
        self._opened = True
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _ended(self) -> None:
        await self._closing.wait()


async def disconnected(receive: Receive) -> None:
    """Waits until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
