"""Records for tests: a whole one of each kind, of which a test says only what it is about."""

from dataclasses import replace
from typing import Any

from parade_monitor.model import LogRecord, MetricKind, Point, Severity, Source, Span, SpanStatus, Temporality

SECOND = 10**9
START = 1_767_225_600 * SECOND
"""The first second of 2026, where the manual clock starts."""
TRACE = "0af7651916cd43dd8448eb211c80319c"
SCHEDULER = Source("default", "scheduler", "s-1")
"""A service, at work for a namespace."""
NOBODYS = Source("", "scheduler", "s-1")
"""The same, at work for none."""
ANALYST = Source("default", "analyst", "a-1")


def log(**given: Any) -> LogRecord:
    whole = LogRecord(
        time=START,
        severity=Severity.INFO,
        source=ANALYST,
        event="table read",
        fields='{"rows":3}',
        trace_id="",
        span_id="",
        run_id="",
    )
    return replace(whole, **given)


def span(**given: Any) -> Span:
    whole = Span(
        trace_id=TRACE,
        span_id="b7ad6b7169203331",
        parent_span_id="",
        source=ANALYST,
        name="describe",
        start_time=START,
        end_time=START + SECOND,
        status=SpanStatus.OK,
        status_message="",
        attributes="{}",
    )
    return replace(whole, **given)


def point(**given: Any) -> Point:
    whole = Point(
        time=START,
        start_time=0,
        source=ANALYST,
        name="rows",
        unit="1",
        kind=MetricKind.GAUGE,
        temporality=Temporality.UNSPECIFIED,
        attributes="{}",
        value=1.5,
    )
    return replace(whole, **given)
