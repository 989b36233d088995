"""Progress notes between a function, in whatever thread, and whoever watches its call."""

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING

from parade.v1 import progress_pb2, session_pb2
from parade.wire.redaction import masked, redacted

if TYPE_CHECKING:
    from parade.hosting.work import Work

MAX_NOTES = 64
"""Notes that wait for the next turn of the event loop; the oldest give way."""
MAX_MESSAGE = 1000
"""Characters of a note."""


def event_of(fraction: float, message: str, call: session_pb2.SessionCall) -> session_pb2.SessionEvent:
    """Returns a note of a call as it is told: without the secrets that the call was given."""
    # Before it is shortened, so that no beginning of a secret is left at its end.
    message = redacted(masked(message, call.options.secrets))
    return session_pb2.SessionEvent(progress=progress_pb2.Progress(fraction=fraction, message=message[:MAX_MESSAGE]))


class Notes:
    """The notes of one call."""

    __slots__ = ("_due", "_waiting", "_work")

    def __init__(self, work: "Work") -> None:
        """Takes the call."""
        self._work = work
        self._waiting: deque[session_pb2.SessionEvent] = deque(maxlen=MAX_NOTES)
        self._due = False

    def note(self, fraction: float, message: str) -> None:
        """Takes a note, in any thread, without waiting."""
        self._waiting.append(event_of(fraction, message, self._work.call))
        if self._due:
            return
        self._due = True
        host = self._work.host
        if threading.get_ident() == host.thread:
            host.loop.call_soon(self.tell)
        else:
            host.loop.call_soon_threadsafe(self.tell)

    async def flush(self) -> None:
        """Waits until every note is on its way."""
        if threading.get_ident() == self._work.host.thread:
            self.tell()
        await asyncio.sleep(0)

    def tell(self) -> None:
        """Tells what waits; in the event loop."""
        self._due = False
        while self._waiting:
            self._work.tell(self._waiting.popleft())
