"""The span of one call, held open without a context around it."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from opentelemetry.trace import Span, SpanContext, Status, StatusCode, TraceFlags

from parade.wire.recorded_span import Fact, RecordedSpan

_LENGTH: Final = 55
"""Characters of a `traceparent` of version 00, of which later versions only have more."""
_UNSAMPLED: Final = frozenset("02468ace")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
"""Any version but ff, which is none; a later one may have more at its end.

Source: https://www.w3.org/TR/trace-context/#traceparent-header
"""


class CallSpan:
    """A span that is recorded."""

    __slots__ = ("span", "traceparent")

    def __init__(self, span: RecordedSpan) -> None:
        """Takes a span that has started."""
        self.span = span
        """The span itself, for those who make it the current one."""
        context = span.context
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        """What to send on, so that what comes of the call hangs under it."""

    def describe(self, facts: Mapping[str, Fact]) -> None:
        """Adds to what is known of the call."""
        self.span.describe(facts)

    def end(self, error_reason: str = "", message: str = "") -> None:
        """Ends the span.

        Args:
            error_reason: Why the call failed; empty where it did not.
            message: What to say of it.
        """
        if error_reason:
            fail(self.span, error_reason, message)
        self.span.end()


def fail(span: Span, reason: str, message: str) -> None:
    """Marks a span as that of a call which failed."""
    span.set_attribute("parade.reason", reason)
    span.set_status(Status(StatusCode.ERROR, message))


def is_unsampled(traceparent: str) -> bool:
    """Returns whether a `traceparent` says that nobody records its trace."""
    return len(traceparent) >= _LENGTH and traceparent[_LENGTH - 1] in _UNSAMPLED


@lru_cache(maxsize=256)  # the steps of a run have one parent
def parent(traceparent: str) -> SpanContext | None:
    """Returns what a `traceparent` names: a span of another process; None where the text is none."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace_id, span_id, flags = match.groups()
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
