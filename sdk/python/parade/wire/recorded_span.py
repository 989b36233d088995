"""A span that costs a call little: OpenTelemetry's own takes five times as long to begin, end and encode; a run has three for each step.

What our own code says of a call is kept as it comes. Whoever says more, such as the author of a function, says it to a span of
OpenTelemetry's that is made for that alone: it cleans values and keeps to the limits.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from random import getrandbits
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AnyValue, Attributes

Fact = str | int | bool
"""The value of an attribute that is kept as it comes."""

SCOPE: Final = InstrumentationScope("parade")

_RANDOM: Final = TraceFlags(TraceFlags.SAMPLED | 0x02)
"""Recorded, and its trace's id is random, as W3C Trace Context, level 2, has it."""
_UNSET: Final = Status()
_OTHERS: Final = TracerProvider(ALWAYS_ON, Resource.get_empty(), shutdown_on_exit=False).get_tracer(SCOPE.name)
_MAKING: Final = threading.Lock()


class RecordedSpan(Span):
    """A span that is recorded; where it has ended it is read as OpenTelemetry's own are."""

    resource: Resource
    instrumentation_scope = SCOPE

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        attributes: Mapping[str, Fact] | None,
        resource: Resource,
        processor: SpanProcessor,
        start_time: int = 0,
    ) -> None:
        """Starts a span.

        Args:
            name: Its name.
            kind: Which side of what it is.
            parent: What it hangs under; None for a new trace.
            attributes: What is known of it.
            resource: Whose span it is.
            processor: Is given the span when it has ended.
            start_time: When it began, in nanoseconds since 1970; 0 for now.
        """
        if parent is None:
            self.context = SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, False, _RANDOM)
        else:
            flags = TraceFlags(parent.trace_flags & _RANDOM | TraceFlags.SAMPLED)
            self.context = SpanContext(parent.trace_id, getrandbits(64) or 1, False, flags, parent.trace_state)
        self.kind = kind
        self.parent = parent
        self.resource = resource
        self.start_time = start_time or time.time_ns()
        self.end_time: int | None = None
        self._name = name
        self.facts: dict[str, Fact] = {} if attributes is None else dict(attributes)
        """What our own code has said of it."""
        self._processor = processor
        self._other: Any = None
        """The span of OpenTelemetry's own; `Any`, since what is read of it is no part of what a span must have."""

    # ---- what is said of it

    def describe(self, facts: Mapping[str, Fact]) -> None:
        """Says more of it, by who knows that there is not much of it, and all of the types that are kept as they come."""
        if self._other is not None:
            self._other.set_attributes(facts)
        elif self.is_recording():
            self.facts.update(facts)

    def end(self, end_time: int | None = None) -> None:
        """Ends it; see `Span`."""
        if self.end_time is not None:
            return
        self.end_time = end_time or time.time_ns()
        if self._other is not None:
            self._other.end(end_time)
        self._processor.on_end(self)  # type: ignore[arg-type]  # it has what is read of a `ReadableSpan`

    def get_span_context(self) -> SpanContext:
        """Returns what others know it by."""
        return self.context

    def is_recording(self) -> bool:
        """Returns whether it has not ended."""
        return self.end_time is None

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Sets attributes; see `Span`."""
        self._described().set_attributes(attributes)

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Sets an attribute; see `Span`."""
        self._described().set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Adds an event; see `Span`."""
        self._described().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Adds a link; see `Span`."""
        self._described().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Gives it another name; see `Span`."""
        self._described().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Says how it went; see `Span`."""
        self._described().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002  # as `Span` has it
    ) -> None:
        """Adds an exception as an event; see `Span`."""
        self._described().record_exception(exception, attributes, timestamp, escaped)

    def _described(self) -> Any:
        with _MAKING:
            if self._other is None:
                self._other = _OTHERS.start_span(self._name, Context(), attributes=self.facts)
                if self.end_time is not None:
                    self._other.end()  # it says itself that what is said now comes too late
            return self._other

    # ---- what is read when it has ended

    @property
    def is_plain(self) -> bool:
        """Whether nothing was said of it but what our own code says of calls that end well."""
        return self._other is None

    @property
    def name(self) -> str:
        """Its name."""
        return self._name if self._other is None else self._other.name

    @property
    def attributes(self) -> Mapping[str, AnyValue]:
        """What is known of it."""
        return self.facts if self._other is None else self._other.attributes

    @property
    def status(self) -> Status:
        """How it went."""
        return _UNSET if self._other is None else self._other.status

    @property
    def events(self) -> Sequence[Event]:
        """What happened in it."""
        return () if self._other is None else self._other.events

    @property
    def links(self) -> Sequence[Link]:
        """What it has to do with beside its parent."""
        return () if self._other is None else self._other.links

    @property
    def dropped_attributes(self) -> int:
        """How many attributes were too many."""
        return 0 if self._other is None else self._other.dropped_attributes

    @property
    def dropped_events(self) -> int:
        """How many events were too many."""
        return 0 if self._other is None else self._other.dropped_events

    @property
    def dropped_links(self) -> int:
        """How many links were too many."""
        return 0 if self._other is None else self._other.dropped_links
