"""What functions with effects have answered, for a while, so that who lost the answer can have it again."""

from collections import OrderedDict
from collections.abc import Callable

from parade.v1 import session_pb2

KEPT_SECONDS = 600.0
MAX_RESULTS = 10_000
MAX_BYTES = 16 * 1024 * 1024
OVERHEAD = 256
"""Bytes that a result takes beside its own."""


class Kept:
    """Results by call id, the oldest forgotten first."""

    def __init__(self, now: Callable[[], float], *, seconds: float = KEPT_SECONDS, count: int = MAX_RESULTS, size: int = MAX_BYTES) -> None:
        """Starts empty.

        Args:
            now: The time in seconds.
            seconds: How long a result is kept.
            count: How many are kept at most.
            size: How many bytes they have at most, all together.
        """
        self._now = now
        self._seconds = seconds
        self._count = count
        self._size = size
        # Ordered by its own list: the first of a plain dictionary is slow to find where many before it were removed.
        self._results: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        """Returns how many are kept."""
        return len(self._results)

    def put(self, call_id: str, result: session_pb2.SessionResult) -> None:
        """Keeps a result; one that is larger than all may be together is not kept."""
        self._forget(call_id)
        encoded = result.SerializeToString()
        size = len(encoded) + OVERHEAD
        if size > self._size:
            return
        now = self._now()
        self._results[call_id] = (now + self._seconds, encoded)
        self._held += size
        while len(self._results) > self._count or self._held > self._size:
            self._forget(next(iter(self._results)))
        self._expire(now)

    def get(self, call_id: str) -> session_pb2.SessionResult | None:
        """Returns a copy of a result; None where none is kept."""
        self._expire(self._now())
        entry = self._results.get(call_id)
        return None if entry is None else session_pb2.SessionResult.FromString(entry[1])

    def _expire(self, now: float) -> None:
        while self._results:
            oldest = next(iter(self._results))
            if self._results[oldest][0] > now:
                return
            self._forget(oldest)

    def _forget(self, call_id: str) -> None:
        entry = self._results.pop(call_id, None)
        if entry is not None:
            self._held -= len(entry[1]) + OVERHEAD
