"""Which spans are recorded: so many new traces a second, and of a trace that is recorded everything."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

TRACES_PER_SECOND: Final = 20.0
"""New traces that one process records in a second. That of a workflow's run has three spans for each of its steps."""
BURST: Final = 50
"""How many of them may begin at once after a pause."""


class RateLimit:
    """So many a second, and so many at once after a pause.

    Source: the generic cell rate algorithm, ITU-T I.371, annex A: one number, the time at which the bucket would be full again.
    """

    __slots__ = ("_clock", "_full_at", "_interval", "_tolerance")

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts full.

        Args:
            per_second: How many, in the long run.
            burst: How many at once.
            clock: The time in seconds.
        """
        self._interval = 1.0 / per_second
        self._tolerance = (burst - 0.5) * self._interval  # half an interval beside the sum of floats
        self._clock = clock
        self._full_at = 0.0

    def take(self) -> bool:
        """Takes one, and says whether there was one."""
        now = self._clock()
        if self._full_at - now > self._tolerance:
            return False
        self._full_at = max(self._full_at, now) + self._interval
        return True


class RateLimited(Sampler):
    """Records what a limit allows."""

    def __init__(self, limit: RateLimit) -> None:
        """Takes the limit."""
        self._limit = limit

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decides; see `Sampler`."""
        sampler = ALWAYS_ON if self._limit.take() else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Returns its name."""
        return "RateLimited"


def sampler(limit: RateLimit) -> Sampler:
    """Returns the sampler of a process: a span's parent decides, and where there is none the limit."""
    return ParentBased(root=RateLimited(limit))
