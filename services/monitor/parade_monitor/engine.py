"""What the monitor does with records and questions."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from parade.wire.errors import ParadeError, Reason
from parade_monitor.intake import Intake
from parade_monitor.model import LogFilter, LogPage, LogRecord, Position, Record, Span
from parade_monitor.rates import Rates
from parade_monitor.store import Store
from parade_monitor.tail import Tail

MAX_ANSWER_BYTES = 6 * 1024 * 1024
"""How much one answer carries: less than a connection carries in one message, which is 8 MiB."""


class Engine:
    """Takes records in and answers questions about them."""

    def __init__(self, store: Store, intake: Intake, tail: Tail, rates: Rates) -> None:
        """Takes the parts."""
        self._store = store
        self._intake = intake
        self._tail = tail
        self._rates = rates

    def take(self, records: Sequence[Record]) -> "Counter[str]":
        """Takes records in: all of them, or none, but for those beyond what their namespace may have. They are visible a moment later.

        Returns:
            How many were beyond it, by the reason.

        Raises:
            ParadeError: NO_CAPACITY where too many wait already.
        """
        kept, refused = self._rates.admitted(records)
        if refused:
            self._intake.drop(refused.total())
        self._intake.put(kept)
        return refused

    async def query_logs(self, wanted: LogFilter, size: int, before: Position | None) -> LogPage:
        """Returns a page of log records, newest first.

        Args:
            wanted: Which.
            size: How many at most; there are fewer where they are large.
            before: The last record of the page before; None for the first page.
        """
        found = await self._store.logs(wanted, size + 1, before=before)
        kept = _within(found[:size])
        more = len(found) > len(kept)
        return LogPage(tuple(record for _, record in kept), kept[-1][0] if more else None)

    async def tail_logs(self, wanted: LogFilter, last: int) -> AsyncGenerator[LogRecord, None]:
        """Gives the newest `last` log records, oldest first, and then every one that arrives.

        Raises:
            ParadeError: NO_CAPACITY where they are read too slowly or there are too many readers, UNAVAILABLE where the monitor stops.
        """
        # The reader is there first, so nothing is missed; what it will be given has a higher id, so nothing comes twice.
        with self._tail.reader(wanted) as reader:
            history = await self._store.logs(wanted, last, up_to=reader.since) if last else []
            for _, record in reversed(history):
                yield record
            del history
            async with aclosing(reader.records()) as arriving:
                async for record in arriving:
                    yield record

    async def trace(self, namespace: str, trace_id: str) -> list[Span]:
        """Returns the spans of a trace that are of a namespace, by start; of all of them for `EVERYWHERE`.

        Raises:
            ParadeError: NOT_FOUND where there is none (yet), FAILED_PRECONDITION where there are more than one answer carries.
        """
        spans = await self._store.trace(namespace, trace_id, MAX_ANSWER_BYTES)
        if not spans:
            raise ParadeError(
                Reason.NOT_FOUND, f"there is no span of trace {trace_id}; a span is visible up to two seconds after its end", retryable=True
            )
        if sum(span.size for span in spans) > MAX_ANSWER_BYTES:
            raise ParadeError(
                Reason.FAILED_PRECONDITION, f"the spans of trace {trace_id} take more than the {MAX_ANSWER_BYTES >> 20} MiB of one answer"
            )
        return spans


def _within(found: list[tuple[Position, LogRecord]]) -> list[tuple[Position, LogRecord]]:
    size = 0
    for count, (_, record) in enumerate(found):
        size += record.size
        if size > MAX_ANSWER_BYTES:
            return found[:count]
    return found
