"""The way in: records wait in a bounded queue, and one writer puts what has queued into the store in one transaction.

Nothing runs while nothing arrives. What has not been written is lost with the process.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_monitor.model import LogRecord, Record
from parade_monitor.store import Store
from parade_monitor.tail import Tail

MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""How much may wait to be written; the rest is refused."""
MAX_SHARE_BYTES = MAX_QUEUED_BYTES // 2
"""How much of it one namespace may fill: one that sends too much leaves room to the others."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""How much goes into one transaction."""
WRITE_INTERVAL = 0.25
"""Seconds from one write to the next: every one waits for the disk, however little it carries."""
RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait after each failed write of the same records; after the last they are dropped."""
FINISH_TIMEOUT = 3.0
"""Seconds that the last write may take."""
REPORT_INTERVAL = 60.0
"""Seconds from one log record about dropped records to the next."""


class Intake:
    """The queue and its writer."""

    def __init__(self, store: Store, tail: Tail, clock: Clock, log: Log, count_dropped: Callable[[int], None]) -> None:
        """Starts empty.

        Args:
            store: Where records go.
            tail: Who hears of log records once they are there.
            clock: The time.
            log: Where it says that records were dropped.
            count_dropped: Is told how many records were dropped.
        """
        self._store = store
        self._tail = tail
        self._clock = clock
        self._log = log
        self._count_dropped = count_dropped
        self._queue: deque[Record] = deque()
        self._bytes = 0
        self._shares: Counter[str] = Counter()
        """The bytes of each namespace that has any there."""
        self._arrived = asyncio.Event()
        self._writing = asyncio.Lock()
        self._next_write = clock.monotonic()
        self._unreported = 0
        self._next_report = clock.monotonic()

    def put(self, records: Sequence[Record]) -> None:
        """Queues records: all of them, or none.

        Raises:
            ParadeError: NO_CAPACITY where the queue has no room, or none for one of their namespaces; they are dropped.
        """
        if not records:
            return
        sizes: Counter[str] = Counter()
        for record in records:
            sizes[record.source.namespace] += record.size
        size = sizes.total()
        if self._bytes + size > MAX_QUEUED_BYTES or any(self._shares[each] + more > MAX_SHARE_BYTES for each, more in sizes.items()):
            self.drop(len(records))
            raise ParadeError(Reason.NO_CAPACITY, "records arrive faster than the monitor can write them")
        self._queue.extend(records)
        self._bytes += size
        self._shares.update(sizes)
        self._arrived.set()

    async def run(self) -> None:
        """Writes what arrives, for good."""
        while True:
            await self._arrived.wait()
            await self._clock.sleep(self._next_write - self._clock.monotonic())
            await self.flush()

    async def flush(self) -> None:
        """Writes what has queued."""
        async with self._writing:
            self._arrived.clear()
            while self._queue:
                await self._write(self._next_batch())
            self._next_write = self._clock.monotonic() + WRITE_INTERVAL

    async def finish(self) -> None:
        """Writes what has queued, at the end of the process; what takes longer than `FINISH_TIMEOUT` is lost."""
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                await self.flush()
        except TimeoutError:
            self._log.warning("records lost at the end", bytes=self._bytes)

    def _next_batch(self) -> list[Record]:
        batch = [self._queue.popleft()]
        size = batch[0].size
        while self._queue and size + self._queue[0].size <= MAX_BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    async def _write(self, batch: list[Record]) -> None:
        try:
            newest = await self._stored(batch)
        finally:
            for record in batch:
                self._bytes -= record.size
                self._shares[record.source.namespace] -= record.size
            self._shares += Counter()  # without those that have none there
        if newest is None:
            self.drop(len(batch))
        else:
            self._tail.publish([record for record in batch if isinstance(record, LogRecord)], newest)

    async def _stored(self, batch: list[Record]) -> int | None:
        for pause in RETRY_PAUSES:
            try:
                return await self._store.append(batch)
            except ParadeError as error:
                self._log.warning("records not written", records=len(batch), error=repr(error.__cause__), retry_after=pause)
                await self._clock.sleep(pause)
        return None

    def drop(self, count: int) -> None:
        """Takes note of records that were dropped, and says so now and then."""
        self._count_dropped(count)
        self._unreported += count
        now = self._clock.monotonic()
        if now >= self._next_report:
            self._log.warning("records dropped", records=self._unreported)
            self._unreported, self._next_report = 0, now + REPORT_INTERVAL
