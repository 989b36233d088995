"""An event loop whose time passes at once: it jumps to the next timer where nothing else is to be done."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Jumping(selectors.DefaultSelector):
    """Looks at real files, and never waits for them."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everything waits, and nothing will ever happen")
            self._jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with a time of its own, which begins at 1,000 s."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_Jumping(self._jump))

    def time(self) -> float:
        """Returns the time that has passed in here."""
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += max(seconds, 0.0)


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs `main` to its end in a loop of its own, and returns what it returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
