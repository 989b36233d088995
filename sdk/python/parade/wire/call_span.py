"""The span of one call, held open without a context around it."""

from functools import lru_cache
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace.span import format_span_id, format_trace_id

_LENGTH: Final = 55
"""Characters of a `traceparent` of version 00, of which later versions only have more."""
_UNSAMPLED: Final = frozenset("02468ace")


class CallSpan:
    """A span that is recorded."""

    __slots__ = ("span", "traceparent")

    def __init__(self, span: Span) -> None:
        """Takes a span that has started."""
        self.span = span
        """The span itself, for those who make it the current one."""
        context = span.get_span_context()
        self.traceparent = f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
        """What to send on, so that what comes of the call hangs under it."""

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
def parent(traceparent: str) -> Context | None:
    """Returns the context of a remote span; None where the text is no `traceparent`.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    try:
        version, trace_id, span_id, flags = traceparent.split("-", 4)[:4]
        if (len(version), len(trace_id), len(span_id), len(flags)) != (2, 32, 16, 2) or version == "ff":
            return None
        context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return set_span_in_context(NonRecordingSpan(context), Context()) if context.is_valid else None
