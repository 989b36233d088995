"""Whether anybody still waits for a call's result: readable from everywhere, awaitable in coroutines, waitable in threads."""

import asyncio
import threading
from collections.abc import Generator
from typing import Any

_MAKING = threading.Lock()
"""Held while the event that threads wait for is made; most calls need none."""


class Cancellation:
    """True once nobody waits for the call any more: it was cancelled, or its deadline has passed.

    A coroutine is cancelled by itself as well, so it needs this only for what it has running beside it. A function in a thread cannot be
    stopped from outside and should look from time to time: `if context.cancelled: return`, or `context.cancelled.wait(0.5)` in place of
    `time.sleep(0.5)`.
    """

    __slots__ = ("_in_coroutines", "_in_threads", "_set")

    def __init__(self) -> None:
        """Starts out false."""
        self._set = False
        self._in_threads: threading.Event | None = None
        self._in_coroutines: asyncio.Event | None = None

    def __bool__(self) -> bool:
        """Returns whether the call is cancelled."""
        return self._set

    def __await__(self) -> Generator[Any, Any, None]:
        """Waits, in a coroutine, until the call is cancelled."""
        if self._set:
            return
        if self._in_coroutines is None:
            self._in_coroutines = asyncio.Event()
        yield from self._in_coroutines.wait().__await__()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits, in a thread, until the call is cancelled or `timeout` seconds have passed; returns whether it is cancelled."""
        with _MAKING:
            if self._in_threads is None:
                self._in_threads = threading.Event()
            event = self._in_threads
        # Cancelled between these two lines or before them, it is seen either here or there.
        return self._set or event.wait(timeout)

    def set(self) -> None:
        """Cancels. Called in the event loop, by whoever runs the call."""
        self._set = True
        if self._in_coroutines is not None:
            self._in_coroutines.set()
        with _MAKING:
            if self._in_threads is not None:
                self._in_threads.set()
