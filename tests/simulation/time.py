"""The time of a schedule, and the processes in it: each can be frozen between any two of its turns, or killed."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.support.virtual_time import VirtualLoop

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Life:
    """What a process is to the loop: from its start to its end, with all that runs in its context.

    Attributes:
        context: Where everything of the process runs.
        dead: Whether it was killed. What it does after that reaches nobody.
    """

    def __init__(self, name: str) -> None:
        """Begins a process."""
        self.name = name
        self.dead = False
        self._held: deque[Callable[[], object]] | None = None
        self.context = copy_context()
        self.context.run(_LIFE.set, self)

    @property
    def halted(self) -> bool:
        """Whether nothing of it goes on."""
        return self._held is not None

    def halt(self) -> None:
        """Freezes it."""
        if self._held is None:
            self._held = deque()

    def hold(self, resume: Callable[[], object]) -> None:
        """Keeps what is to go on when it is thawed."""
        assert self._held is not None
        self._held.append(resume)

    def thaw(self) -> None:
        """Lets it go on, with all that has come meanwhile."""
        held, self._held = self._held, None
        for resume in held or ():
            resume()


_LIFE: ContextVar[Life] = ContextVar("life")


class SimulatedLoop(VirtualLoop):
    """A loop with a time of its own that holds back what belongs to a process that is halted."""

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # its own is generic
        """Calls something in the next turn."""
        if context is None:
            context = copy_context()
        life = context.get(_LIFE)
        if life is None or not life.halted:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        life.hold(lambda: handle.cancelled() or self._ready.append(handle))  # type: ignore[attr-defined]  # where asyncio keeps them
        return handle

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]
        """Calls something at a time."""

        def ring() -> None:
            life = _LIFE.get(None)
            if life is not None and life.halted:
                life.hold(lambda: self.call_soon(ring, context=held))
            elif not handle.cancelled():
                callback(*args)

        held = copy_context() if context is None else context
        handle = super().call_at(when, ring, context=held)
        return handle


class SimulatedClock:
    """The clock of one machine: its time of day may be moved, and differs from that of others."""

    def __init__(self) -> None:
        """Starts with the right time."""
        self._loop = asyncio.get_running_loop()
        self.offset = 0.0
        """Seconds by which the time of day is ahead."""

    def now(self) -> datetime:
        """Returns the time of day."""
        return BEGIN + timedelta(seconds=self._loop.time() + self.offset)

    def monotonic(self) -> float:
        """Returns seconds that never run backwards."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)
