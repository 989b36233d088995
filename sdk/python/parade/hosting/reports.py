"""What a running function has to say before its result, in order: progress notes and items, on their way to the reader of its stream."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

MAX_NOTES = 64
"""Notes that wait for a slow reader; the oldest give way."""


@dataclass(frozen=True, slots=True)
class Note:
    """A progress note."""

    fraction: float
    message: str


Write = Callable[[Note | bytes], Awaitable[None]]
"""Sends one note, or one item as JSON."""


class Reports:
    """Sends notes in the background and items as they come; used as a context manager around the function's run."""

    def __init__(self, write: Write) -> None:
        """Takes where everything goes."""
        self._write = write
        self._notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self._wake = asyncio.Event()
        self._order = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Starts sending."""
        self._sending = asyncio.create_task(self._send(), name="progress notes")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops sending."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
            if not self._sending.cancelled():
                self._sending.exception()  # the stream broke; who runs the call learns of it by itself

    def note(self, fraction: float, message: str) -> None:
        """Takes a note, in any thread, without waiting."""
        self._notes.append(Note(fraction, message))
        self._loop.call_soon_threadsafe(self._wake.set)

    async def flush(self) -> None:
        """Waits until every note is on its way."""
        async with self._order:
            await self._drain()

    async def item(self, data: bytes) -> None:
        """Sends an item, after the notes that came before it."""
        async with self._order:
            await self._drain()
            await self._write(data)

    async def _drain(self) -> None:
        while self._notes:
            await self._write(self._notes.popleft())

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()
