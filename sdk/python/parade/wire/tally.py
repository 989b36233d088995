"""Counts of what happens so often that OpenTelemetry's own instruments would cost more than the work: durations and outcomes by key.

A tally is fed from one thread and read from another: what a reader sees of one recording may lack a part of it, which the next reading has.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

BOUNDS_MS: Final = (
    0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700,
    1000, 1500, 2000, 3000, 5000, 10_000, 30_000, 60_000, 300_000, 1_800_000,
)  # fmt: skip
"""The upper bounds of the buckets, in milliseconds; the last bucket has none."""
MAX_KEYS: Final = 10_000
"""Keys of one tally. What comes after them is counted under no key, marked as OpenTelemetry says."""
IDLE_READINGS: Final = 40
"""A key that was not recorded for so many readings (ten minutes) makes room for others."""
OVERFLOW: Final = {"otel.metric.overflow": True}
"""What marks recordings without a key.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
"""

_BOUNDS: Final = tuple(bound / 1000 for bound in BOUNDS_MS)
_WIDTH: Final = len(_BOUNDS) + 1

Key = tuple[str | bool, ...]


class _Series:
    """What was recorded under one key."""

    __slots__ = ("changed", "counts", "idle", "outcomes", "start", "sums")

    def __init__(self, durations: int, start: int) -> None:
        self.counts = [0] * (_WIDTH * durations)
        self.sums = [0.0] * durations
        self.outcomes: dict[str, int] = {}
        self.start = start
        self.changed = False
        self.idle = 0


class Tally:
    """Histograms of durations, and a count by outcome, for every key."""

    def __init__(
        self,
        attributes: Sequence[str],
        durations: Mapping[str, str],
        count: tuple[str, str] | None = None,
        outcome: str = "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Starts empty.

        Args:
            attributes: What the parts of a key are called in the metrics, in their order.
            durations: The histograms, in milliseconds: what each tells, by its name.
            count: The name of the sum that counts recordings by outcome, and what it tells; None for no sum.
            outcome: What the outcome is called there.
            clock: The time, in nanoseconds since 1970.
        """
        self._attributes = tuple(attributes)
        self._durations = tuple(durations.items())
        self._count = count
        self._outcome = outcome
        self._clock = clock
        self._series: dict[Key, _Series] = {}
        self._overflow: _Series | None = None
        self._stale: list[Key] = []

    def record(self, key: Key, *seconds: float, outcome: str = "") -> None:
        """Records something that happened.

        Args:
            key: What it is counted under: a value for each of the attributes.
            seconds: A value for each of the durations.
            outcome: How it ended, where the tally counts.
        """
        series = self._series.get(key) or self._added(key)
        series.changed = True
        counts, sums = series.counts, series.sums
        for place, value in enumerate(seconds):
            counts[bisect_left(_BOUNDS, value) + place * _WIDTH] += 1
            sums[place] += value
        if outcome:
            outcomes = series.outcomes
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def read(self, *, everything: bool = False) -> list[Metric]:
        """Returns what was recorded since the beginning, of the keys that were recorded since the last reading. Only one thread may read.

        Args:
            everything: Whether to return the other keys too.
        """
        now = self._clock()
        stale: list[Key] = []
        changed: list[tuple[dict[str, str | bool], _Series]] = []
        for key, series in list(self._series.items()):
            series.idle = 0 if series.changed else series.idle + 1
            if series.changed or everything:
                series.changed = False
                changed.append((dict(zip(self._attributes, key, strict=True)), series))
            elif series.idle >= IDLE_READINGS:
                stale.append(key)
        self._stale = stale
        if self._overflow is not None and (self._overflow.changed or everything):
            self._overflow.changed = False
            changed.append((dict(OVERFLOW), self._overflow))
        return list(self._metrics(changed, now)) if changed else []

    def _added(self, key: Key) -> _Series:
        # Only this thread changes the dictionary, so keys that a reading found idle go here.
        stale, self._stale = self._stale, []
        for old in stale:
            if old in self._series and not self._series[old].changed:
                del self._series[old]
        if len(self._series) < MAX_KEYS:
            series = self._series[key] = _Series(len(self._durations), self._clock())
            return series
        if self._overflow is None:
            self._overflow = _Series(len(self._durations), self._clock())
        return self._overflow

    def _metrics(self, changed: list[tuple[dict[str, str | bool], _Series]], now: int) -> Iterator[Metric]:
        for place, (name, description) in enumerate(self._durations):
            points = [_histogram_point(attributes, series, place, now) for attributes, series in changed]
            yield Metric(name, description, "ms", Histogram(points, AggregationTemporality.CUMULATIVE))
        if self._count is not None:
            name, description = self._count
            counts = [
                NumberDataPoint({**attributes, self._outcome: outcome}, series.start, now, count)
                for attributes, series in changed
                for outcome, count in list(series.outcomes.items())
            ]
            yield Metric(name, description, "1", Sum(counts, AggregationTemporality.CUMULATIVE, is_monotonic=True))


class CallTally(Tally):
    """What a dispatcher counts of the calls that it gave to instances."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """Starts empty."""
        super().__init__(
            ("parade.namespace", "parade.function", "parade.instance"),
            {
                "parade.call.queued": "How long calls waited for an instance",
                "parade.call.transport": "How long calls were on their way between dispatcher and agent, there and back",
                "parade.call.executing": "How long calls were in the function",
            },
            ("parade.calls", "Calls, by how they ended"),
            "parade.outcome",
            clock,
        )

    def record_call(self, key: tuple[str, ...], queued: float, transport: float, executing: float, outcome: str) -> None:
        """Records a call that has ended.

        Args:
            key: Namespace, full name of the function, id of the instance.
            queued: Seconds until an instance had it.
            transport: Seconds on its way.
            executing: Seconds in the function.
            outcome: `OK`, or the reason why it failed.
        """
        # As `record`, spelled out: this runs for every call of the mesh.
        series = self._series.get(key) or self._added(key)
        series.changed = True
        counts, sums = series.counts, series.sums
        counts[bisect_left(_BOUNDS, queued)] += 1
        counts[bisect_left(_BOUNDS, transport) + _WIDTH] += 1
        counts[bisect_left(_BOUNDS, executing) + 2 * _WIDTH] += 1
        sums[0] += queued
        sums[1] += transport
        sums[2] += executing
        outcomes = series.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1


def _histogram_point(attributes: dict[str, str | bool], series: _Series, place: int, now: int) -> HistogramDataPoint:
    counts = series.counts[place * _WIDTH : (place + 1) * _WIDTH]
    # The least and the greatest since the beginning say nothing of now, and would cost every recording; the format lets them out.
    nothing = cast(float, None)
    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=series.start,
        time_unix_nano=now,
        count=sum(counts),
        sum=series.sums[place] * 1000,
        bucket_counts=counts,
        explicit_bounds=BOUNDS_MS,
        min=nothing,
        max=nothing,
    )
