"""How many records a second each namespace may have taken in: a token bucket for each. What is beyond is dropped, and counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from parade_chassis.clock import Clock
from parade_chassis.quotas import Limits, Quotas
from parade_monitor.model import Record

BURST: Final = 10.0
"""Seconds of its rate that a namespace may have taken in at once, where it had few before."""
MOST_BUCKETS: Final = 10_000
"""Namespaces that are counted. Beyond it those are forgotten that have all their room."""


class Rows(Limits):
    """What a namespace may have taken in."""

    rows_per_second: int = Field(default=5_000, ge=1)
    """Log records, spans and metric points together."""


@dataclass(slots=True)
class _Bucket:
    room: float
    measured: float
    """When, by the monotonic clock."""


class Rates:
    """What each namespace has had taken in lately."""

    def __init__(self, quotas: Quotas[Rows], clock: Clock) -> None:
        """Takes what each may have, and the time."""
        self._quotas = quotas
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def admitted(self, records: Sequence[Record]) -> "tuple[Sequence[Record], Counter[str]]":
        """Returns those that are taken in, and how many are not, by the reason. What is of no namespace is the services' own, and free."""
        wanted = Counter(record.source.namespace for record in records)
        refused: Counter[str] = Counter()
        left = {namespace: self._taken(namespace, count) for namespace, count in wanted.items() if namespace}
        for namespace, count in left.items():
            if beyond := wanted[namespace] - count:
                most = self._quotas.of(namespace).rows_per_second
                refused[f"more than {most:,} records a second of namespace {namespace}"] = beyond
        if not refused:
            return records, refused
        kept = []
        for record in records:
            namespace = record.source.namespace
            if not namespace or left[namespace] > 0:
                kept.append(record)
                if namespace:
                    left[namespace] -= 1
        return kept, refused

    def _taken(self, namespace: str, wanted: int) -> int:
        now, rate = self._clock.monotonic(), self._quotas.of(namespace).rows_per_second
        bucket = self._buckets.get(namespace)
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                self._forget_full(now)
            bucket = self._buckets[namespace] = _Bucket(rate * BURST, now)
        bucket.room = min(rate * BURST, bucket.room + (now - bucket.measured) * rate)
        bucket.measured = now
        taken = min(wanted, int(bucket.room))
        bucket.room -= taken
        return taken

    def _forget_full(self, now: float) -> None:
        # A bucket fills within `BURST` seconds: one that was not touched for so long is as good as a new one.
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket.measured < BURST}
