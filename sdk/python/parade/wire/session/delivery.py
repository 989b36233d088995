"""One call over a link until it has an outcome: sent again where its session was lost, and ended at its deadline. Nobody waits here.

Who makes calls says in a subclass what becomes of them.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from typing import Final

from parade.v1 import call_pb2, session_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.link import Link
from parade.wire.session.opener import LostError, Sent
from parade.wire.status import from_record

GUARD: Final = 0.04
"""Seconds after the deadline at which a call ends here. The other side's own answer, which says more, comes before."""
REDELIVERY = 10.0
"""Seconds for which a call whose session was lost is sent again."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
REFUSALS: Final = frozenset({Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED})
"""Why a session may be refused so that asking again does not help."""

_REDELIVERED: Final = session_pb2.SessionCall(options=call_pb2.CallOptions(redelivered=True)).SerializeToString()
"""What is added to an encoded call: of a message that comes twice in a field the second is merged into the first."""


class Delivery(ABC):
    """A call, and the receiver of what becomes of it."""

    __slots__ = (
        "_call",
        "_deadlines",
        "_give_up",
        "_guard",
        "_link",
        "_loop",
        "_pause",
        "_retry",
        "_sent",
        "_taken",
        "_window",
        "call_id",
        "deadline",
        "ended",
        "redelivered",
    )

    def __init__(
        self,
        link: Link,
        deadlines: Deadlines,
        call: session_pb2.SessionCall | bytes,
        call_id: str,
        deadline: float,
        loop: asyncio.AbstractEventLoop,
        window: int = 0,
    ) -> None:
        """Makes a delivery that has not begun.

        Args:
            link: Where it goes.
            deadlines: Ends it at its deadline.
            call: The call, which belongs to the delivery from now on. As bytes it is encoded without a window; a message has its own.
            call_id: Its id, which `call` says too.
            deadline: When it must have ended, in the loop's time; `math.inf` for no deadline.
            loop: Tells the time.
            window: How many bytes of items may be on their way.
        """
        self._link = link
        self._deadlines = deadlines
        self._call = call
        self._loop = loop
        self._window = window
        self._taken = 0
        self._sent: Sent | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause = 0.0
        self._give_up = 0.0
        self._guard = deadline + GUARD
        self.call_id = call_id
        self.deadline = deadline
        self.redelivered = False
        """Whether the call may have arrived before."""
        self.ended = False
        """Whether it has its outcome, or nobody wants one."""

    @abstractmethod
    def told(self, event: session_pb2.SessionEvent) -> None:
        """Takes what the call says while it runs."""

    @abstractmethod
    def succeeded(self, result: session_pb2.SessionResult) -> None:
        """Takes the result: the last that is heard of the call."""

    @abstractmethod
    def failed(self, error: ParadeError) -> None:
        """Takes why there is no result: the last that is heard of the call."""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again."""
        return True

    def begin(self) -> None:
        """Sends the call.

        Raises:
            ParadeError: As `Link.send`.
        """
        self._send()
        self._deadlines.add(self._guard, self)

    def abandon(self) -> None:
        """Cancels the call, whose outcome nobody waits for any more; one that has ended is passed over."""
        if self.ended:
            return
        self._end()
        if self._sent is not None:
            self._sent.abandon()
            self._sent = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def taken(self, size: int) -> None:
        """Makes room for as much as was taken of the items, a quarter of the window at a time."""
        self._taken += size
        if self._taken * 4 >= self._window and self._sent is not None:
            self._sent.grant(self._taken)
            self._taken = 0

    # ---- what the deadlines and the link say

    def expired(self) -> None:
        """Ends the call at its deadline."""
        self.abandon()
        self.failed(ParadeError(Reason.DEADLINE_EXCEEDED, "the deadline passed", metadata={"call_id": self.call_id}))

    def answered(self, result: session_pb2.SessionResult) -> None:
        """Ends the call with its result."""
        self._sent = None
        self._end()
        if result.HasField("error"):
            self.failed(from_record(result.error))
        else:
            self.succeeded(result)

    def lost(self, error: LostError) -> None:
        """Sends the call again after a pause, unless that would not help."""
        self._sent = None
        now = self._loop.time()
        if not self._pause:
            self._give_up = now + REDELIVERY
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        if error.sent:
            self._mark_redelivered()
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads the load, hides nothing
        if error.reason in REFUSALS or not self.repeatable or now + pause > self._give_up:
            reason = error.reason if error.reason in REFUSALS else Reason.UNAVAILABLE
            self._fail(ParadeError(reason, error.message, metadata={"call_id": self.call_id}))
            return
        self._retry = self._loop.call_later(pause, self._again)

    def _again(self) -> None:
        self._retry = None
        try:
            self._send()
        except ParadeError as error:
            self._fail(error)

    def _send(self) -> None:
        self._taken = 0
        self._sent = self._link.send(self._call, self, self.deadline, self._window)

    def _mark_redelivered(self) -> None:
        if self.redelivered:
            return
        self.redelivered = True
        if isinstance(self._call, bytes):
            self._call += _REDELIVERED
        else:
            self._call.options.redelivered = True

    def _fail(self, error: ParadeError) -> None:
        self._end()
        self.failed(error)

    def _end(self) -> None:
        self.ended = True
        self._deadlines.remove(self._guard, self)
