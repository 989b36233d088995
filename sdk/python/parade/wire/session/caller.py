"""Calls over a link, awaited: the deadline's guard, cancellation, and sending again what a lost session leaves open.

It serves whoever calls functions at a dispatcher: clients, the gateway and the scheduler.
"""

import asyncio
import itertools
import os
import random
import secrets
from collections import deque
from collections.abc import AsyncGenerator

from parade.v1 import session_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.limits import room_taken
from parade.wire.session.link import Link
from parade.wire.session.opener import LostError, Sent
from parade.wire.status import from_record

GUARD = 0.04
"""Seconds after the deadline at which a call ends here. The other side's own answer, which says more, comes before."""
REDELIVERY = 10.0
"""Seconds for which a call whose session was lost is sent again."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
REFUSALS = frozenset({Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED})
"""Why a session may be refused so that asking again does not help."""


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
        pending = _Unary(self._link, call, loop.time() + timeout, loop)
        pending.send()
        when = pending.deadline + GUARD
        self._deadlines.add(when, pending)
        try:
            return await pending.future
        except asyncio.CancelledError:
            pending.abandon()
            raise
        finally:
            self._deadlines.remove(when, pending)

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
        pending = _Stream(self._link, call, loop.time() + timeout, loop)
        pending.send()
        when = pending.deadline + GUARD
        self._deadlines.add(when, pending)
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
            self._deadlines.remove(when, pending)


class _Pending:
    """A call that is awaited: the receiver of what becomes of it."""

    __slots__ = ("_call", "_give_up", "_link", "_loop", "_pause", "_retry", "_sent", "deadline", "future")

    def __init__(self, link: Link, call: session_pb2.SessionCall, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._call = call
        self._loop = loop
        self._sent: Sent | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause = 0.0
        self._give_up = 0.0
        self.deadline = deadline
        self.future: asyncio.Future[session_pb2.SessionResult] = loop.create_future()
        options = call.options
        if not options.call_id:
            options.call_id = _IDS.next()

    def send(self) -> None:
        """Hands the call to the link."""
        self._sent = self._link.send(self._call, self, self.deadline)

    def abandon(self) -> None:
        """Cancels the call, whose outcome nobody waits for any more; one that has ended is passed over."""
        if self._sent is not None:
            self._sent.abandon()
            self._sent = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self.future.done():
            self.future.cancel()
        elif not self.future.cancelled():
            self.future.exception()  # asked for, so that nobody is told that it never was

    def expired(self) -> None:
        """Ends the call at its deadline."""
        self.fail(ParadeError(Reason.DEADLINE_EXCEEDED, "the deadline passed", metadata={"call_id": self._call.options.call_id}))
        self.abandon()

    def answered(self, result: session_pb2.SessionResult) -> None:
        """Ends the call with its result."""
        self._sent = None
        if result.HasField("error"):
            self.fail(from_record(result.error))
        elif not self.future.done():
            self.future.set_result(result)

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Drops it: nobody asked."""

    def lost(self, error: LostError) -> None:
        """Sends the call again after a pause, unless that would not help."""
        self._sent = None
        if self.future.done():
            return
        now = self._loop.time()
        if not self._pause:
            self._give_up = now + REDELIVERY
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        if error.sent:
            self._call.options.redelivered = True
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads the load, hides nothing
        if error.reason in REFUSALS or not self.repeatable or now + pause > self._give_up:
            reason = error.reason if error.reason in REFUSALS else Reason.UNAVAILABLE
            self.fail(ParadeError(reason, error.message, metadata={"call_id": self._call.options.call_id}))
            return
        self._retry = self._loop.call_later(pause, self._again)

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again."""
        return True

    def fail(self, error: ParadeError) -> None:
        """Ends the call with an error."""
        if not self.future.done():
            self.future.set_exception(error)

    def _again(self) -> None:
        self._retry = None
        try:
            self.send()
        except ParadeError as error:
            self.fail(error)


class _Unary(_Pending):
    """A call of which only the result is wanted."""

    __slots__ = ()


class _Stream(_Pending):
    """A call whose events are wanted."""

    __slots__ = ("_items", "_taken", "_waiter", "_window", "events")

    def __init__(self, link: Link, call: session_pb2.SessionCall, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(link, call, deadline, loop)
        self.events: deque[session_pb2.SessionEvent] = deque()
        self._window = call.window
        self._items = False
        self._taken = 0
        self._waiter: asyncio.Future[None] | None = None
        self.future.add_done_callback(self._wake)

    @property
    def repeatable(self) -> bool:
        """Only before its first item: the reader would get that one twice."""
        return not self._items

    def send(self) -> None:
        """Hands the call to the link."""
        self._call.window = self._window
        self._taken = 0
        super().send()

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Keeps it for the reader."""
        self.events.append(event)
        self._items = self._items or event.HasField("item")
        self._wake()

    def taken(self, size: int) -> None:
        """Makes room for as much as the reader has taken, a quarter of the window at a time."""
        self._taken += size
        if self._taken * 4 >= self._window and self._sent is not None:
            self._sent.grant(self._taken)
            self._taken = 0

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
