"""Those who read log records as they arrive: each with a bounded queue, and told so when it reads too slowly."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager

from parade.wire.errors import ParadeError, Reason
from parade_monitor.model import LogFilter, LogRecord

MAX_READERS = 64
"""Readers at once."""
MAX_QUEUED_BYTES = 16 * 1024 * 1024
"""How much may wait for one reader."""


class Reader:
    """One who reads log records as they arrive."""

    def __init__(self, wanted: LogFilter, since: int) -> None:
        """Starts with nothing.

        Args:
            wanted: Which records to keep for it.
            since: The newest id that was there before; what arrives later reaches the reader.
        """
        self.since = since
        self._wanted = wanted
        self._queue: deque[LogRecord] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._failure: ParadeError | None = None

    def offer(self, records: Sequence[LogRecord]) -> None:
        """Queues those that are wanted; a reader for whom too much has queued has failed."""
        for record in records:
            if self._wanted.matches(record):
                self._queue.append(record)
                self._bytes += record.size
        if self._bytes > MAX_QUEUED_BYTES:
            self.fail(ParadeError(Reason.NO_CAPACITY, "log records arrive faster than they are read; narrow the filter and tail again"))
        if self._queue:
            self._changed.set()

    def fail(self, failure: ParadeError) -> None:
        """Ends the reading with a failure, and lets go of what has queued."""
        self._failure = failure
        self._queue.clear()
        self._bytes = 0
        self._changed.set()

    async def records(self) -> AsyncGenerator[LogRecord, None]:
        """Gives records as they arrive, for good.

        Raises:
            ParadeError: NO_CAPACITY where they are read too slowly, UNAVAILABLE where the monitor stops.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._queue and self._failure is None:
                record = self._queue.popleft()
                self._bytes -= record.size
                yield record
            if self._failure is not None:
                raise self._failure


class Tail:
    """The readers, and how far the store has come."""

    def __init__(self, newest: int) -> None:
        """Starts without readers.

        Args:
            newest: The id of the newest log record in the store; 0 where there is none.
        """
        self._newest = newest
        self._readers: set[Reader] = set()

    def publish(self, records: Sequence[LogRecord], newest: int) -> None:
        """Hands records to the readers, once they are in the store.

        Args:
            records: The records.
            newest: The newest id in the store with them; 0 where it holds none.
        """
        self._newest = max(self._newest, newest)
        for reader in self._readers:
            reader.offer(records)

    @contextmanager
    def reader(self, wanted: LogFilter) -> Iterator[Reader]:
        """Adds a reader for the block.

        Raises:
            ParadeError: NO_CAPACITY where there are too many, UNAVAILABLE where the monitor stops.
        """
        if len(self._readers) >= MAX_READERS:
            raise ParadeError(Reason.NO_CAPACITY, f"{MAX_READERS} readers follow the log already")
        reader = Reader(wanted, self._newest)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def close(self) -> None:
        """Ends every reading, because the monitor stops."""
        for reader in self._readers:
            reader.fail(ParadeError(Reason.UNAVAILABLE, "the monitor is stopping; tail again"))
