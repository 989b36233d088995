"""The acceptor's side of one session: the calls that it knows, and what waits to be told of them. Knows no stream (see `acceptor`).

A call is known from its arrival until its result is acknowledged. While it runs its handler may tell events; with its answer it has
ended, and the answer is kept, encoded, for a stream that breaks on the way.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from parade.v1 import error_pb2, session_pb2
from parade.wire.session.frames import EVENT, RESULT, FrameBuilder, varint
from parade.wire.session.limits import MAX_ENTRY_BYTES, MAX_TIMEOUT, MENTION_AFTER, SMALL_FRAME_BYTES, room_taken
from parade.wire.session.outbox import Outbox
from parade.wire.session.violations import check_from_opener, check_size, violation

_NUMBER = b"\x08"
"""The tag of `SessionResult.number`: field 1, a varint."""


class Handler(Protocol):
    """Who answers calls."""

    def begin(self, call: session_pb2.SessionCall, exchange: "Exchange") -> None:
        """Begins a call, and may answer it at once. Never raises and never waits."""
        ...


class Exchange:
    """One call at the acceptor."""

    __slots__ = (
        "_session",
        "caller",
        "cancelled",
        "credited",
        "ended",
        "framed",
        "granted",
        "items",
        "mentioned",
        "note",
        "number",
        "result",
        "size",
        "window",
    )

    def __init__(self, session: "Accepted", number: int, window: int, size: int) -> None:
        """Made by the session."""
        self._session = session
        self.number = number
        self.size = size
        self.items = 0
        self.ended = False
        self.framed = False
        self.result = b""
        self.note: list[Any] | None = None
        self.mentioned = b""
        self.caller: Any = session.caller
        """What `Acceptor.serve` was given."""
        self.granted = window
        self.window = window
        """Bytes of items that may still be told. The handler stops at 0 and below."""
        self.cancelled: Callable[[bool], None] | None = None
        """Set by the handler. Called with False where the opener cancels the call, with True where the opener went away for good."""
        self.credited: Callable[[], None] | None = None
        """Set by the handler. Called when the window has grown."""

    def answer(self, result: session_pb2.SessionResult | bytes) -> None:
        """Says how the call ended: the last word. The number is set here; as bytes it is a `SessionResult` encoded without one."""
        if self.ended:
            return
        self.ended = True
        self.cancelled = self.credited = self.note = None
        body = result if isinstance(result, bytes) else result.SerializeToString()
        encoded = body + _NUMBER + varint(self.number)
        if len(encoded) > MAX_ENTRY_BYTES:
            encoded = _too_large("the result", len(encoded)).SerializeToString() + _NUMBER + varint(self.number)
        self.result = encoded
        self._session.answered(self, encoded)

    def tell(self, event: session_pb2.SessionEvent) -> None:
        """Says something of the call while it runs. The number is set here; an item lessens the window."""
        if self.ended:
            return
        event.number = self.number
        item = event.HasField("item")
        if item:
            if self.window <= 0:
                # The opener would end the session for it, and with it everybody's calls.
                self._fail(_failed(error_pb2.ERROR_REASON_INTERNAL, "the function gave an item for which there was no room"))
                return
            self.window -= room_taken(event.item)
        encoded = event.SerializeToString()
        if len(encoded) > MAX_ENTRY_BYTES:
            self._fail(_too_large("an item", len(encoded)))
            return
        self._session.told(self, encoded, item=item, progress=not item and event.HasField("progress"))

    def mention(self, event: bytes) -> None:
        """Says something, a `SessionEvent` without its number, that matters only while the call runs; told late, or with its next event."""
        if not self.ended:
            self._session.mentioned(self, event + _NUMBER + varint(self.number))

    def _fail(self, result: session_pb2.SessionResult) -> None:
        cancelled = self.cancelled
        self.answer(result)
        if cancelled is not None:
            cancelled(False)


class Accepted:
    """One session."""

    def __init__(self, session_id: str, caller: object, handler: Handler, max_calls: int, loop: asyncio.AbstractEventLoop) -> None:
        """Makes a session without a stream.

        Args:
            session_id: Its id.
            caller: Whose it is.
            handler: Who answers.
            max_calls: How many calls it may know at once.
            loop: Tells the time.
        """
        self.session_id = session_id
        self.caller = caller
        self.known: dict[int, Exchange] = {}
        """The calls that run, and those whose results are not acknowledged."""
        self.argument_bytes = 0
        """What the arguments of running calls take."""
        self.running = 0
        """How many calls have no result yet."""
        self.draining = False
        self.drain_told = False
        self.ended = False
        self.stream: object | None = None
        """What carries it now; None while its stream is broken."""
        self.outbox = Outbox(self.pending, self.under_way, loop)
        self._handler = handler
        self._max_calls = max_calls
        self._loop = loop
        self._last = 0
        self._queue: deque[list[Any]] = deque()
        self._mentioning: tuple[list[Exchange], list[Exchange]] = ([], [])
        """Calls of which something was mentioned: at least `MENTION_AFTER` ago when it is looked at next, and since then."""
        self._ping = 0
        self._pong = 0

    # ---- what handlers say

    def answered(self, exchange: Exchange, encoded: bytes) -> None:
        """Queues a result."""
        if self.ended:
            return
        self.argument_bytes -= exchange.size
        self.running -= 1
        self._queue.append([RESULT, exchange, encoded, False])
        if not self.outbox.ready:
            self.outbox.wake()

    def told(self, exchange: Exchange, encoded: bytes, *, item: bool, progress: bool) -> None:
        """Queues an event. Progress that nobody has read gives way to newer progress, so that its queue stays short."""
        if self.ended:
            return
        if exchange.mentioned:
            self._tell_mentioned(exchange)
        if progress and exchange.note is not None:
            exchange.note[2] = encoded
            return
        entry = [EVENT, exchange, encoded, item]
        exchange.note = entry if progress else None
        self._queue.append(entry)
        self.outbox.wake()

    def mentioned(self, exchange: Exchange, encoded: bytes) -> None:
        """Keeps an event for a while. One timer serves all calls: most end before."""
        before, since = self._mentioning
        if not (before or since):
            self._loop.call_later(MENTION_AFTER, self._tell_all_mentioned)
        exchange.mentioned = encoded
        since.append(exchange)

    def _tell_all_mentioned(self) -> None:
        for exchange in self._mentioning[0]:
            if exchange.mentioned and not exchange.ended:
                self._tell_mentioned(exchange)
        self._mentioning = (self._mentioning[1], [])
        if self._mentioning[0]:
            self._loop.call_later(MENTION_AFTER, self._tell_all_mentioned)

    def _tell_mentioned(self, exchange: Exchange) -> None:
        encoded, exchange.mentioned = exchange.mentioned, b""
        self._queue.append([EVENT, exchange, encoded, False])
        self.outbox.wake()

    def drain(self) -> None:
        """Has the opener told to make another session."""
        self.draining = True
        self.outbox.wake()

    def ping(self) -> None:
        """Asks the opener for a sign of life."""
        self._ping += 1
        self.outbox.wake()

    # ---- what is written

    def hello(self, frame: session_pb2.SessionHello, *, resumed: bool) -> bytes:
        """Takes the opener's hello and returns the frame with the acceptor's."""
        answer = session_pb2.SessionHello(session_id=self.session_id, resume=resumed, max_calls=self._max_calls)
        if resumed:
            self._resume(frame, answer)
        elif frame.outstanding:
            # Numbers go on rising over a session that was lost.
            self._last = max(item.number for item in frame.outstanding)
        self.drain_told = False
        return session_pb2.SessionFrame(hello=answer).SerializeToString()

    def _resume(self, hello: session_pb2.SessionHello, answer: session_pb2.SessionHello) -> None:
        known, self.known = self.known, {}
        for item in hello.outstanding:
            exchange = known.get(item.number)
            if exchange is None:
                self._last = max(self._last, item.number)
            elif exchange.items == item.item_count:
                del known[item.number]
                self.known[item.number] = exchange
                answer.outstanding.add(number=item.number, item_count=item.item_count)
                if exchange.framed:
                    exchange.framed = False
                    self._queue.appendleft([RESULT, exchange, exchange.result, False])
        # What the opener does not name has arrived there, or has lost items on the way.
        for exchange in known.values():
            self._forget(exchange)
        if known:
            self._queue = deque(entry for entry in self._queue if entry[1].number in self.known)
        for item in hello.outstanding:
            exchange = self.known.get(item.number)
            if exchange is not None:
                # Credits may have been lost with the stream; what was granted in all was not.
                self._grow(exchange, item.window - exchange.granted)

    def pending(self) -> int:
        """How many entries wait for a frame."""
        return len(self._queue)

    def under_way(self) -> int:
        """How many calls have no result yet."""
        return self.running

    def take(self) -> tuple[bytes, int]:
        """Returns the next frame, empty where there is nothing to say, and how many entries it holds."""
        queue = self._queue
        builder = FrameBuilder(self._controls(), len(queue))
        while queue:
            kind, exchange, encoded, item = queue[0]
            if not builder.add(kind, encoded):
                break
            queue.popleft()
            if kind is RESULT:
                exchange.framed = True
            else:
                exchange.note = None
                exchange.items += item
        return builder.encoded(), builder.entries

    def _controls(self) -> bytes:
        drain = self.draining and not self.drain_told
        if not (drain or self._ping or self._pong):
            return b""
        frame = session_pb2.SessionFrame(drain=drain, ping=self._ping, pong=self._pong)
        self.drain_told = self.draining
        self._ping = self._pong = 0
        return frame.SerializeToString()

    # ---- what is read

    def received(self, frame: session_pb2.SessionFrame) -> None:
        """Takes a frame that is not the first of its stream.

        Raises:
            ParadeError: INVALID_ARGUMENTS. The opener breaks the rules.
        """
        check_from_opener(frame)
        size = frame.ByteSize()
        check_size(frame, size)
        if frame.acknowledged:
            self._acknowledged(frame)
        if frame.calls:
            self._called(frame, measure=size > SMALL_FRAME_BYTES)
        if frame.cancels:
            self._cancelled(frame)
        for credit in frame.credits:
            exchange = self._named(credit.number, "a credit")
            if exchange is not None:
                self._grow(exchange, credit.bytes)
        if frame.ping:
            self._pong = frame.ping
            self.outbox.wake()

    def _called(self, frame: session_pb2.SessionFrame, *, measure: bool) -> None:
        known, begin = self.known, self._handler.begin
        last = self._last
        if len(known) + len(frame.calls) > self._max_calls:
            raise violation(f"at most {self._max_calls} calls are outstanding at once")
        for call in frame.calls:
            number = call.number
            if number <= last:
                raise violation(f"numbers rise: call {number} came after call {last}")
            self._last = last = number
            if not 0.0 <= call.timeout <= MAX_TIMEOUT:
                raise violation(f"call {number} has a timeout that is no time: {call.timeout}")
            size = 0
            if measure:
                size = call.ByteSize()
                self.argument_bytes += size
            self.running += 1
            exchange = Exchange(self, number, call.window, size)
            known[number] = exchange
            try:
                begin(call, exchange)
            except Exception as error:  # noqa: BLE001  # one call must not end the session of the others
                self._complain(error)
                exchange.answer(_failed(error_pb2.ERROR_REASON_INTERNAL, "an unexpected fault"))

    def _acknowledged(self, frame: session_pb2.SessionFrame) -> None:
        known = self.known
        forget = known.pop
        for number in frame.acknowledged:
            exchange = forget(number, None)
            if exchange is None:
                if number > self._last:
                    raise violation(f"an acknowledgement names call {number}, and there is none")
            elif not exchange.framed:
                known[number] = exchange
                raise violation(f"call {number} is acknowledged and has no result")

    def _cancelled(self, frame: session_pb2.SessionFrame) -> None:
        for number in frame.cancels:
            exchange = self._named(number, "a cancel")
            if exchange is not None and exchange.cancelled is not None:
                cancelled, exchange.cancelled = exchange.cancelled, None
                self._guarded(cancelled, False)

    def _named(self, number: int, what: str) -> Exchange | None:
        exchange = self.known.get(number)
        if exchange is None and number > self._last:
            raise violation(f"{what} names call {number}, and there is none")
        return exchange

    def _grow(self, exchange: Exchange, size: int) -> None:
        if exchange.ended or size <= 0:
            return
        exchange.granted += size
        exchange.window += size
        if exchange.credited is not None:
            self._guarded(exchange.credited)

    # ---- the end

    def end(self) -> None:
        """Ends the session: what runs is told that its opener went away for good."""
        self.ended = True
        self.outbox.close()
        known, self.known = self.known, {}
        self._queue.clear()
        for exchange in known.values():
            self._forget(exchange)

    def _forget(self, exchange: Exchange) -> None:
        cancelled = exchange.cancelled
        if not exchange.ended:
            self.argument_bytes -= exchange.size
            self.running -= 1
            exchange.ended = True
        exchange.cancelled = exchange.credited = exchange.note = None
        if cancelled is not None:
            self._guarded(cancelled, True)

    def _guarded(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001  # one call must not end the session of the others
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a handler failed", "exception": error})


def _failed(reason: error_pb2.ErrorReason.ValueType, message: str) -> session_pb2.SessionResult:
    return session_pb2.SessionResult(error=error_pb2.Error(reason=reason, message=message))


def _too_large(what: str, size: int) -> session_pb2.SessionResult:
    message = f"{what} takes {size} bytes, more than the {MAX_ENTRY_BYTES} that travel; send what is large as an artifact"
    return _failed(error_pb2.ERROR_REASON_AGENT_ERROR, message)
