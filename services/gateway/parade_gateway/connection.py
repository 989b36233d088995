"""uvicorn's connection, for less than it costs: an answer is sent in one piece, and a client that leaves is noticed without a task.

It bounds what uvicorn does not: how long the head of a request may take to arrive, and how much it may be.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "parade.connection"
"""Where a scope holds its `Connection`."""
ARRIVED = "parade.arrived"
"""What a scope holds once the whole request has arrived."""
LARGEST_PIECE = 64 * 1024
"""Bytes of the largest answer that is copied behind its head."""

HEAD_TIMEOUT = 10.0
"""Seconds in which the head of a request must have arrived, from its first byte or from the beginning of the connection."""
MAX_HEAD_BYTES = 64 * 1024
"""Bytes that a head may have, beside those that came with its first byte."""


class Connection(Protocol):
    """What a request may know of the connection that it came by."""

    lost: bool
    """Whether the client has left."""
    leaving: Callable[[], object] | None
    """What is called once when the client leaves."""
    loop: asyncio.AbstractEventLoop
    """The loop that it lives in."""

    def hold(self) -> None:
        """Keeps what is sent next until something more is sent."""
        ...

    def answered(self, send: Send, head: bytes, body: bytes) -> bool:
        """Sends a whole answer in one piece and says True; says False, and sends nothing, where it must go through `send`.

        Args:
            send: What the answer goes through otherwise.
            head: Its status and headers without the length, which is the last one.
            body: What follows.
        """
        ...


class HttpConnection(HttpToolsProtocol):
    """A connection."""

    lost = False
    leaving: Callable[[], object] | None = None
    _late: asyncio.TimerHandle | None = None
    """Hangs up where no head has arrived."""
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins."""
        super().connection_made(transport)
        self._together = self.transport = _Together(transport)
        self._late = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends, and with it the request under way."""
        super().connection_lost(exc)
        self._in_time()
        self.lost = True
        if self.leaving is not None:
            self.leaving()

    def data_received(self, data: bytes) -> None:
        """Takes what has arrived."""
        began_before = self._in_head
        super().data_received(data)
        if self._in_head and began_before:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
                return
        # Between requests, too: uvicorn waits for no next one once anything has arrived, were it an empty line.
        if self._late is None and (self._in_head or self.cycle.response_complete) and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self._extended[CONNECTION] = self
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Begins to answer it."""
        self._in_head = False
        if self._late is not None:
            self._in_time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Notes that a request has arrived."""
        super().on_message_complete()
        self._extended[ARRIVED] = True

    def hold(self) -> None:
        """Keeps what is sent next until something more is sent."""
        self._together.holding = True

    def answered(self, send: Send, head: bytes, body: bytes) -> bool:
        """Sends a whole answer in one piece, in place of the two events that say the same."""
        cycle = self.cycle
        if (
            send != cycle.send  # something stands between, or the request is not the last of those that came together
            or cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or cycle.default_headers
            or self.flow.write_paused
            or len(body) > LARGEST_PIECE
            or self.scope["method"] == "HEAD"
        ):
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        cycle.message_event.set()
        self.on_response_complete()
        return True

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    @property
    def _extended(self) -> Scope:
        return self.scope  # type: ignore[return-value]


class _Together(asyncio.Transport):
    """A transport that can send an answer's head together with its body: each sending is a system call, and costs most of an answer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._held: bytes | bytearray | memoryview = b""
        self.holding = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.holding:
            self.holding = False
            self._held = data
        elif self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
