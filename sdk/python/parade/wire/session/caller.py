"""Calls over a link, awaited: cancelling who waits cancels the call.

It serves whoever calls functions at a dispatcher and waits for them: clients and the gateway. What is told by callbacks is in `delivery`.
"""

import asyncio
import itertools
import os
import secrets
from collections import deque
from collections.abc import AsyncGenerator

from parade.v1 import session_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError
from parade.wire.session.delivery import Delivery
from parade.wire.session.limits import room_taken
from parade.wire.session.link import Link


class _CallIds:
    """Ids that no other process makes, and that cost little: a part made by chance, and a number."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self._prefix = f"{secrets.token_hex(8)}-"
        self._numbers = itertools.count(1)

    def next(self) -> str:
        return f"{self._prefix}{next(self._numbers):x}"


_IDS = _CallIds()


class SessionCaller:
    """Makes calls over one link."""

    def __init__(self, link: Link) -> None:
        """Takes the link; whoever made it closes it."""
        self._link = link
        self._deadlines = Deadlines()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(self, call: session_pb2.SessionCall, timeout: float) -> session_pb2.SessionResult:
        """Makes a call and returns its result. Cancelling the task cancels the call.

        Args:
            call: The call, which belongs to the caller from now on; it gets an id where it has none.
            timeout: Seconds until it must have ended; `math.inf` for no deadline.

        Raises:
            ParadeError: Why it failed.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # asks the kernel which process this is, so not for every call
        pending = _Pending(self._link, self._deadlines, call, loop.time() + timeout, loop)
        pending.begin()
        try:
            return await pending.future
        except asyncio.CancelledError:
            pending.abandon()
            raise

    async def stream(
        self, call: session_pb2.SessionCall, timeout: float, window: int = 256 * 1024
    ) -> AsyncGenerator[session_pb2.SessionEvent | session_pb2.SessionResult]:
        """Makes a call and yields what it says, as it comes, and its result last. Closing the generator cancels the call.

        A reader that is slow holds the function back.

        Args:
            call: The call, which belongs to the caller from now on; it gets an id where it has none.
            timeout: Seconds until it must have ended; `math.inf` for no deadline.
            window: How many bytes of items may be on their way.

        Raises:
            ParadeError: Why it failed.
        """
        loop = asyncio.get_running_loop()
        call.window = window
        pending = _Stream(self._link, self._deadlines, call, loop.time() + timeout, loop)
        pending.begin()
        try:
            while True:
                while pending.events:
                    event = pending.events.popleft()
                    yield event
                    if event.HasField("item"):
                        pending.taken(room_taken(event.item))
                if pending.future.done() and not pending.events:
                    break
                await pending.more()
            yield pending.future.result()
        finally:
            pending.abandon()


class _Pending(Delivery):
    """A call of which only the result is wanted."""

    __slots__ = ("future",)

    def __init__(
        self, link: Link, deadlines: Deadlines, call: session_pb2.SessionCall, deadline: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        options = call.options
        if not options.call_id:
            options.call_id = _IDS.next()
        super().__init__(link, deadlines, call, options.call_id, deadline, loop, call.window)
        self.future: asyncio.Future[session_pb2.SessionResult] = loop.create_future()

    @property
    def repeatable(self) -> bool:
        """Not where the server knows no sessions: it is asked in another way."""
        return not self._link.unimplemented

    def abandon(self) -> None:
        """Cancels the call, whose outcome nobody waits for any more."""
        super().abandon()
        if self.future.done() and not self.future.cancelled():
            self.future.exception()  # asked for, so that nobody is told that it never was

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Drops it: nobody asked."""

    def succeeded(self, result: session_pb2.SessionResult) -> None:
        """Gives whoever waits the result."""
        if not self.future.done():
            self.future.set_result(result)

    def failed(self, error: ParadeError) -> None:
        """Raises the error for whoever waits."""
        if not self.future.done():
            self.future.set_exception(error)


class _Stream(_Pending):
    """A call whose events are wanted."""

    __slots__ = ("_items", "_waiter", "events")

    def __init__(
        self, link: Link, deadlines: Deadlines, call: session_pb2.SessionCall, deadline: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(link, deadlines, call, deadline, loop)
        self.events: deque[session_pb2.SessionEvent] = deque()
        self._items = False
        self._waiter: asyncio.Future[None] | None = None
        self.future.add_done_callback(self._wake)

    @property
    def repeatable(self) -> bool:
        """Only before its first item: the reader would get that one twice."""
        return super().repeatable and not self._items

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Keeps it for the reader."""
        self.events.append(event)
        self._items = self._items or event.HasField("item")
        self._wake()

    async def more(self) -> None:
        """Waits for an event or the end."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self, _: object = None) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
