"""The one writer of this dispatcher. It takes everything that has queued since its last commit and commits it in one transaction.

Nobody is told anything before its commit. Where a commit fails, because the disk is full or the database away, what waits is refused with
that error, and nothing of it was done; only what cannot be refused any more, since it has happened, stays and is written as soon as the
database takes it. The process goes on.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_dispatcher.changes import Change, Given
from parade_dispatcher.ports import Later

MAX_BATCH: Final = 1_000
"""How many changes one transaction takes at most, so that a commit stays short."""
MAX_WAITING: Final = 20_000
"""How many changes may wait; more are refused. What has happened always finds place, for it is bounded by the calls that run."""
PATIENCE: Final = 0.02
"""Seconds that a change which nobody waits for may wait for another to go with."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts to write what has happened."""

Write = Callable[[Sequence[Change]], Awaitable[list[Given]]]
Done = Callable[[Given | ParadeError], None]
"""Is told what a change gives once it is written, or why it is not."""


@dataclass(slots=True, eq=False)
class _Waiting:
    change: Change
    done: Done | None
    must: bool


class Journal:
    """Writes, for as long as the process lives."""

    def __init__(self, write: Write, later: Later, log: Log) -> None:
        """Takes its parts.

        Args:
            write: Writes changes in one transaction.
            later: Calls back after some seconds.
            log: Says when writing begins to fail, and when it succeeds again.
        """
        self._write = write
        self._later = later
        self._log = log
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._nudged = False
        self._pause = 0.0

    def add(self, change: Change, done: Done | None = None, *, must: bool = False, urgent: bool = True) -> None:
        """Has something written. Returns at once; `done` is called from the event loop, never from here.

        Args:
            change: What to write.
            done: Is told what came of it.
            must: True where it has happened and must be written however long that takes; `done` is then not told of failures.
            urgent: False where nobody waits for it: it goes with the next change that is, soon in any case.
        """
        if not must and len(self._waiting) >= MAX_WAITING:
            if done is not None:
                message = "the dispatcher has too much to write down; try again in a moment"
                refused = ParadeError(Reason.NO_CAPACITY, message, metadata={"retry_after": "1"})
                asyncio.get_running_loop().call_soon(done, refused)
            return
        self._waiting.append(_Waiting(change, done, must))
        self._idle.clear()
        if urgent:
            self._wake.set()
        elif not self._nudged:
            self._nudged = True
            self._later(PATIENCE, self._nudge)

    async def added(self, change: Change) -> Given:
        """Has something written and returns what it gives.

        Raises:
            ParadeError: It was not written.
        """
        written: asyncio.Future[Given] = asyncio.get_running_loop().create_future()

        def done(given: Given | ParadeError) -> None:
            if written.done():
                return
            if isinstance(given, ParadeError):
                written.set_exception(given)
            else:
                written.set_result(given)

        self.add(change, done)
        return await written

    async def keep(self) -> None:
        """Writes. Runs for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                try:
                    await self._commit(batch)
                except asyncio.CancelledError:
                    self._waiting.extendleft(reversed(batch))
                    raise
                if self._pause:
                    self._later(self._pause, self._nudge)
                    break
            if not self._waiting:
                self._idle.set()

    async def flush(self, limit: float) -> bool:
        """Waits until nothing waits to be written; returns whether that came true within `limit` seconds."""
        self._wake.set()
        try:
            async with asyncio.timeout(limit):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _nudge(self) -> None:
        self._nudged = False
        self._wake.set()

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            given = await self._write([waiting.change for waiting in batch])
        except ParadeError as error:
            self._failed(batch, error)
        except Exception as error:  # noqa: BLE001  # what is wrong is one of the changes, and it must not take the others with it
            await self._one_by_one(batch, error)
        else:
            if self._pause:
                self._log.info("writing again")
            self._pause = 0.0
            for waiting, result in zip(batch, given, strict=True):
                self._tell(waiting, result)

    async def _one_by_one(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) > 1:
            for waiting in batch:
                await self._commit([waiting])
            return
        self._log.error("this cannot be written", change=type(batch[0].change).__name__, error=repr(error))
        self._tell(batch[0], ParadeError(Reason.INTERNAL, "the dispatcher's database does not take this; its log says more"))

    def _failed(self, batch: list[_Waiting], error: ParadeError) -> None:
        if not self._pause:
            self._log.error("nothing can be written down", error=error.message)
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        # What came in meanwhile is not refused yet: it gets an attempt of its own.
        self._waiting.extendleft(reversed([waiting for waiting in batch if waiting.must]))
        for waiting in batch:
            if not waiting.must:
                self._tell(waiting, error)

    def _tell(self, waiting: _Waiting, given: Given | ParadeError) -> None:
        if waiting.done is None:
            return
        try:
            waiting.done(given)
        except Exception as error:  # noqa: BLE001  # the writer serves everybody: the fault of one who waits is not the end of all
            self._log.error("what waited for a commit failed", error=repr(error), exception=error)
