"""Waits on streams: each has a deadline, and all end when the process stops, so that no open stream holds up its end.

There are as many as there are instances, so they have no timer each, and what a stream needs for its waits is made once.
"""

import asyncio
import math
from types import TracebackType

from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason


class Waits:
    """The waits under way."""

    def __init__(self) -> None:
        """Starts with none."""
        self.deadlines = Deadlines()
        self.under_way: set[Wait] = set()
        self.ended = False

    def bounded(self, seconds: float) -> "Wait":
        """Returns what bounds the waiting of the task that asks; for use with `with`, as often as it waits.

        Args:
            seconds: How long each time may last; infinite where only the end of the process limits it.
        """
        return Wait(self, seconds)

    def end(self) -> None:
        """Ends every wait, and every one to come at once."""
        self.ended = True
        for wait in tuple(self.under_way):
            wait.cut()


class Wait:
    """The waiting of one task, one time after the other."""

    __slots__ = ("_cut", "_due", "_seconds", "_task", "_until", "_waits")

    def __init__(self, waits: Waits, seconds: float) -> None:
        """Takes whose it is and how long each time may last; made by `Waits.bounded`."""
        self._waits = waits
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._until = 0.0
        self._due = math.inf
        """When the deadlines look at it. That may be long before it is over: a wait that ends well takes nothing out of them."""
        self._cut = False

    def __enter__(self) -> None:
        """Begins to wait.

        Raises:
            ParadeError: UNAVAILABLE where the process stops.
        """
        if self._waits.ended:
            raise _stopping()
        self._task = asyncio.current_task()
        self._until = asyncio.get_running_loop().time() + self._seconds
        self._waits.under_way.add(self)
        if self._due == math.inf:
            self._look()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the waiting.

        Raises:
            ParadeError: DEADLINE_EXCEEDED where nothing came; UNAVAILABLE where the process stops.
        """
        self._waits.under_way.discard(self)
        if error is not None:
            self.forget()
        task, self._task = self._task, None
        if not self._cut or task is None:
            return
        self._cut = False
        if task.uncancel() == 0 and kind is asyncio.CancelledError:
            if self._waits.ended:
                raise _stopping() from error
            raise ParadeError(Reason.DEADLINE_EXCEEDED, f"nothing came for {self._seconds:g} seconds") from error

    def expired(self) -> None:
        """Looks whether the present wait is over; called by the deadlines."""
        self._due = math.inf
        if self._task is None:
            return
        if self._until <= asyncio.get_running_loop().time():
            self.cut()
        else:
            self._look()

    def cut(self) -> None:
        """Ends the present wait."""
        if self._task is not None and not self._cut:
            self._cut = True
            self._task.cancel()

    def forget(self) -> None:
        """Takes it out of the deadlines."""
        self._waits.deadlines.remove(self._due, self)
        self._due = math.inf

    def _look(self) -> None:
        self._due = self._until
        self._waits.deadlines.add(self._due, self)


def _stopping() -> ParadeError:
    return ParadeError(Reason.UNAVAILABLE, "the agent_manager is stopping; open the stream again")
