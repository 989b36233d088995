"""Whether anybody still waits for a call's result: readable from everywhere, awaitable in coroutines, waitable in threads."""

import asyncio
import threading
from collections.abc import Generator
from typing import Any


class Cancellation:
    """True once nobody waits for the call any more: it was cancelled, or its deadline has passed.

    A coroutine is cancelled by itself as well, so it needs this only for what it has running beside it. A function in a thread cannot be
    stopped from outside and should look from time to time: `if context.cancelled: return`, or `context.cancelled.wait(0.5)` in place of
    `time.sleep(0.5)`.
    """

    def __init__(self) -> None:
        """Starts out false."""
        self._in_threads = threading.Event()
        self._in_coroutines = asyncio.Event()

    def __bool__(self) -> bool:
        """Returns whether the call is cancelled."""
        return self._in_threads.is_set()

    def __await__(self) -> Generator[Any, Any, None]:
        """Waits, in a coroutine, until the call is cancelled."""
        yield from self._in_coroutines.wait().__await__()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits, in a thread, until the call is cancelled or `timeout` seconds have passed; returns whether it is cancelled."""
        return self._in_threads.wait(timeout)

    def set(self) -> None:
        """Cancels. Called in the event loop, by whoever runs the call."""
        self._in_threads.set()
        self._in_coroutines.set()
