"""The opener's side of one session: which calls are out, and what a frame means for them. Knows no stream (see `stream`).

A call waits in the link's queue until a frame has room for it, is out from then on until its result arrives, and then is over.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from struct import Struct
from typing import Protocol

from parade.v1 import session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.session.frames import CALL, FrameBuilder, varint
from parade.wire.session.limits import MAX_ACKNOWLEDGED, MAX_CONTROLS, MAX_ENTRY_BYTES, room_taken
from parade.wire.session.violations import check_from_acceptor, check_size, violation
from parade.wire.status import to_record


class LostError(Exception):
    """A call has no outcome: its session was lost, or there was none to be had.

    Attributes:
        message: What happened.
        sent: False only where it is certain that the call never reached the other side.
        reason: What kind of failure took the session.
    """

    def __init__(self, message: str, *, sent: bool, reason: Reason = Reason.UNAVAILABLE) -> None:
        """Makes an error."""
        super().__init__(message)
        self.message = message
        self.sent = sent
        self.reason = reason


class Receiver(Protocol):
    """Who made a call. Its methods are called from the event loop, never from within `send`, `cancel`, `abandon` or `grant`."""

    def answered(self, result: session_pb2.SessionResult) -> None:
        """Takes the result: the last that is heard of the call."""
        ...

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Takes what the call says while it runs."""
        ...

    def lost(self, error: LostError) -> None:
        """Takes that there will be no result: the last that is heard of the call."""
        ...


class _Nobody:
    """Receives what nobody wants to hear any more."""

    def answered(self, result: session_pb2.SessionResult) -> None:
        """Drops it."""

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Drops it."""

    def lost(self, error: LostError) -> None:
        """Drops it."""


NOBODY: Receiver = _Nobody()

Waiting = OrderedDict["Sent", None]
"""The calls that no frame has held yet, in their order."""

_NUMBER = b"\x08"
"""The tag of `SessionCall.number`: field 1, a varint."""
_WINDOW = b"\x28"
"""The tag of `SessionCall.window`: field 5, a varint."""
_timeout = Struct("<cd").pack
_TIMEOUT = b"\x21"
"""The tag of `SessionCall.timeout`: field 4, a double."""


class Sent:
    """A call that was handed to a link."""

    __slots__ = ("_loop", "_waiting", "body", "cancelling", "deadline", "granted", "items", "number", "opener", "receiver", "room")

    def __init__(
        self,
        call: session_pb2.SessionCall | bytes,
        receiver: Receiver,
        deadline: float,
        waiting: Waiting,
        loop: asyncio.AbstractEventLoop,
        window: int = 0,
    ) -> None:
        """Made by `Link.send`."""
        if isinstance(call, bytes):
            self.body = call + _WINDOW + varint(window) if window else call
            self.granted = self.room = window
        else:
            self.body = call.SerializeToString()
            self.granted = self.room = call.window
        self.receiver = receiver
        self.deadline = deadline
        self.opener: Opener | None = None
        self.number = 0
        self.cancelling = False
        self.items = 0
        self._waiting = waiting
        self._loop = loop

    def cancel(self) -> None:
        """Asks for the call's end. A result still comes: at once, CANCELLED, where the call has not left yet."""
        if self.cancelling:
            return
        self.cancelling = True
        if self.opener is not None:
            self.opener.cancel(self)
        elif self in self._waiting:
            del self._waiting[self]
            self.end(_failed(Reason.CANCELLED, "the call was cancelled before it left"))

    def abandon(self) -> None:
        """Cancels the call; its receiver hears no more of it."""
        self.receiver = NOBODY
        self.cancel()

    def grant(self, size: int) -> None:
        """Makes room for `size` more bytes of items."""
        self.granted += size
        self.room += size
        if self.opener is not None:
            self.opener.grant(self, size)
        elif self in self._waiting:
            self.body += _WINDOW + varint(self.granted)  # of a field that comes twice the last counts

    def end(self, result: session_pb2.SessionResult) -> None:
        """Ends a call that has not left with a result made here."""
        self._loop.call_soon(self._deliver, result)

    def _deliver(self, result: session_pb2.SessionResult) -> None:
        self.receiver.answered(result)


def _failed(reason: Reason, message: str) -> session_pb2.SessionResult:
    return session_pb2.SessionResult(error=to_record(ParadeError(reason, message)))


class Opener:
    """One session."""

    def __init__(
        self, session_id: str, waiting: Waiting, loop: asyncio.AbstractEventLoop, wake: Callable[[], None], log: Log | None
    ) -> None:
        """Makes a session whose stream is not open yet.

        Args:
            session_id: Its id.
            waiting: The calls to take from, as frames have room.
            loop: Tells the time.
            wake: Called when there is something to write.
            log: For receivers that fail.
        """
        self.session_id = session_id
        self.calls: dict[int, Sent] = {}
        """The calls that are out, by number."""
        self.unacknowledged: list[int] = []
        """Calls whose results arrived since the last frame."""
        self.taking = True
        """Whether it takes new calls."""
        self.drained = False
        """Whether the acceptor asked for another session."""
        self.max_calls = 0
        self._waiting = waiting
        self._loop = loop
        self._wake = wake
        self._log = log
        self._last = 0
        self._cancels: list[int] = []
        self._credits: dict[int, int] = {}
        self._ping = 0
        self._pong = 0

    # ---- what the user of the link asks for

    def cancel(self, sent: Sent) -> None:
        """Has a call cancelled that is out."""
        self._cancels.append(sent.number)
        self._wake()

    def grant(self, sent: Sent, size: int) -> None:
        """Has room made for items of a call that is out."""
        self._credits[sent.number] = self._credits.get(sent.number, 0) + size
        self._wake()

    def ping(self) -> None:
        """Asks the acceptor for a sign of life."""
        self._ping += 1
        self._wake()

    # ---- what is written

    def hello(self, *, resume: bool) -> bytes:
        """Returns the first frame of a stream."""
        hello = session_pb2.SessionHello(session_id=self.session_id, resume=resume)
        if resume:
            for number, sent in self.calls.items():
                hello.outstanding.add(number=number, item_count=sent.items, window=sent.granted)
        return session_pb2.SessionFrame(hello=hello).SerializeToString()

    def pending(self) -> int:
        """How many entries wait for a frame."""
        calls = max(0, min(len(self._waiting), self.max_calls - len(self.calls))) if self.taking else 0
        return calls + len(self._cancels) + len(self._credits)

    def under_way(self) -> int:
        """How many calls are out."""
        return len(self.calls)

    def take(self) -> tuple[bytes, int]:
        """Returns the next frame, empty where there is nothing to say, and how many entries it holds."""
        controls, count = self._controls()
        waiting, calls = self._waiting, self.calls
        builder = FrameBuilder(controls, len(waiting))
        if waiting and self.taking:
            now = self._loop.time()
            number = self._last
            most = self.max_calls - len(self.unacknowledged)
            while waiting and len(calls) < most:
                sent, _ = waiting.popitem(last=False)
                body, end = sent.body, _NUMBER + varint(number + 1)
                if sent.deadline != inf:
                    left = sent.deadline - now
                    if left <= 0.0:
                        sent.end(_failed(Reason.DEADLINE_EXCEEDED, "the deadline passed before the call left"))
                        continue
                    end += _timeout(_TIMEOUT, left)
                size = len(body) + len(end)
                if size > MAX_ENTRY_BYTES:
                    sent.end(_failed(Reason.INVALID_ARGUMENTS, f"the call takes {size} bytes, and {MAX_ENTRY_BYTES} travel at most"))
                    continue
                if not builder.add(CALL, body, end):
                    # It stays the first for the next frame.
                    waiting[sent] = None
                    waiting.move_to_end(sent, last=False)
                    break
                number += 1
                sent.number = number
                sent.opener = self
                calls[number] = sent
            self._last = number
            count += builder.calls
        return builder.encoded(), count

    def _controls(self) -> tuple[bytes, int]:
        if not (self._cancels or self._credits or self._ping or self._pong) and len(self.unacknowledged) <= MAX_ACKNOWLEDGED:
            # As almost always: acknowledgements, or nothing.
            acknowledged, self.unacknowledged = self.unacknowledged, []
            return (session_pb2.SessionFrame(acknowledged=acknowledged).SerializeToString() if acknowledged else b""), 0
        cancels, self._cancels = self._cancels[:MAX_CONTROLS], self._cancels[MAX_CONTROLS:]
        numbers = list(self._credits)[:MAX_CONTROLS]
        frame = session_pb2.SessionFrame(
            acknowledged=self.unacknowledged[:MAX_ACKNOWLEDGED],
            cancels=cancels,
            credits=[session_pb2.SessionCredit(number=number, bytes=self._credits.pop(number)) for number in numbers],
            ping=self._ping,
            pong=self._pong,
        )
        self.unacknowledged = self.unacknowledged[MAX_ACKNOWLEDGED:]
        self._ping = self._pong = 0
        return frame.SerializeToString(), len(cancels) + len(numbers)

    # ---- what is read

    def greeted(self, hello: session_pb2.SessionHello, *, resume: bool) -> list[Sent]:
        """Takes the acceptor's hello, and returns the calls that are lost by it.

        Raises:
            ParadeError: INVALID_ARGUMENTS. The acceptor breaks the rules.
        """
        if hello.session_id != self.session_id:
            raise violation("the acceptor's hello names the opener's session")
        if not hello.max_calls:
            raise violation("the acceptor's hello.max_calls is above 0")
        self.max_calls = hello.max_calls
        # What was waiting to be said of calls is said again below, or has been said by the hello.
        self._cancels.clear()
        self._credits.clear()
        self.unacknowledged.clear()
        outstanding, self.calls = self.calls, {}
        known = {item.number for item in hello.outstanding} if resume and hello.resume else set()
        if not known <= outstanding.keys():
            raise violation("the acceptor's hello.outstanding names calls of the opener's hello")
        lost: list[Sent] = []
        again: list[Sent] = []
        for number, sent in outstanding.items():
            if number in known:
                self.calls[number] = sent
                if sent.cancelling:
                    self._cancels.append(number)
                continue
            sent.opener = None
            # An acceptor knows a call from its arrival until its result is acknowledged: this one has not arrived. Unless it had room for
            # items: then it may have been dropped because some were lost on the way.
            if not hello.resume or sent.granted:
                lost.append(sent)
            elif sent.cancelling:
                sent.end(_failed(Reason.CANCELLED, "the call was cancelled before it arrived"))
            else:
                again.append(sent)
        for sent in reversed(again):
            self._waiting[sent] = None
            self._waiting.move_to_end(sent, last=False)
        self._wake()
        return lost

    def received(self, frame: session_pb2.SessionFrame) -> None:
        """Takes a later frame.

        Raises:
            ParadeError: INVALID_ARGUMENTS. The acceptor breaks the rules.
        """
        check_from_acceptor(frame)
        check_size(frame, frame.ByteSize())
        if frame.drain:
            self.drained = True
        if frame.ping:
            self._pong = frame.ping
            self._wake()
        if frame.events:
            self._told(frame)
        if frame.results:
            self._answered(frame)

    def _answered(self, frame: session_pb2.SessionFrame) -> None:
        calls = self.calls
        arrived = self.unacknowledged
        for result in frame.results:
            number = result.number
            sent = calls.pop(number, None)
            if sent is None:
                raise violation(f"call {number} has a result and is not outstanding")
            arrived.append(number)
            sent.opener = None
            try:
                sent.receiver.answered(result)
            except Exception as error:  # noqa: BLE001  # one receiver must not keep the others from their results
                self._complain(error)
        if self._waiting and self.taking:
            self._wake()

    def _told(self, frame: session_pb2.SessionFrame) -> None:
        for event in frame.events:
            sent = self.calls.get(event.number)
            if sent is None:
                raise violation(f"call {event.number} has an event and is not outstanding")
            kind = event.WhichOneof("event")
            if kind is None:
                raise violation(f"an event of call {event.number} says nothing that is known")
            if kind == "item":
                if sent.room <= 0:
                    raise violation(f"call {event.number} has an item and no room for it")
                sent.room -= room_taken(event.item)
                sent.items += 1
            try:
                sent.receiver.told(event)
            except Exception as error:  # noqa: BLE001  # as above
                self._complain(error)

    # ---- the end

    def abandon(self) -> list[Sent]:
        """Gives the session up, and returns the calls that were out."""
        lost = list(self.calls.values())
        self.calls.clear()
        for sent in lost:
            sent.opener = None
        return lost

    def _complain(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a receiver failed", "exception": error})
        if self._log is not None:
            self._log.error("receiver failed", exception=error)
