"""Calls are traced at a limited rate, under the caller's span or the current one, and without a context around them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span, use_span

from parade.wire.call_span import CallSpan, is_unsampled, parent
from parade.wire.sampling import RateLimit
from parade.wire.tally_exporter import TallyExporter
from parade.wire.telemetry import Telemetry, traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE}-00f067aa0ba902b7-00"


@dataclass
class Recording:
    telemetry: Telemetry
    exporter: InMemorySpanExporter

    def begin(self, traceparent: str = "", **options: bool) -> CallSpan | None:
        return self.telemetry.begin_call("echo.echo", SpanKind.SERVER, traceparent, {"parade.call_id": "c-1"}, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


@pytest.fixture
def recording() -> Iterator[Recording]:
    exporter = InMemorySpanExporter()
    with Telemetry("tested", "t-1") as telemetry:
        telemetry._spans.add_span_processor(SimpleSpanProcessor(exporter))
        telemetry._tallies = TallyExporter(None, Resource({}), 3600)  # as where there is a collector
        yield Recording(telemetry, exporter)


def spent(telemetry: Telemetry) -> None:
    while telemetry._roots.take():
        pass


def test_a_sampled_parent_is_always_followed(recording: Recording) -> None:
    spent(recording.telemetry)

    call = recording.begin(SAMPLED)
    assert call is not None
    assert not get_current_span().get_span_context().is_valid
    call.end()

    (span,) = recording.spans
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}", span.parent.is_remote) == (TRACE, "00f067aa0ba902b7", True)
    assert call.traceparent.split("-")[1] == TRACE
    assert parent(call.traceparent) is not None
    assert not is_unsampled(call.traceparent)
    assert dict(span.attributes or {}) == {"parade.call_id": "c-1"}


def test_nothing_is_recorded_under_a_parent_that_is_not(recording: Recording) -> None:
    assert recording.begin(UNSAMPLED) is None


def test_so_many_traces_begin_and_no_more(recording: Recording) -> None:
    begun = [recording.begin() for _ in range(200)]

    assert 50 <= len([call for call in begun if call is not None]) < 100
    assert begun[-1] is None
    assert len({call.traceparent.split("-")[1] for call in begun if call}) == len([call for call in begun if call])


def test_a_call_that_may_begin_no_trace_begins_none(recording: Recording) -> None:
    assert recording.begin(root=False) is None


def test_no_trace_begins_where_nobody_collects() -> None:
    with Telemetry("tested", "t-1") as telemetry:
        assert telemetry.begin_call("echo.echo", SpanKind.SERVER) is None
        assert telemetry.begin_call("echo.echo", SpanKind.SERVER, SAMPLED) is not None


def test_the_current_span_is_the_parent(recording: Recording) -> None:
    spent(recording.telemetry)
    outer = recording.begin(SAMPLED)
    assert outer is not None
    with use_span(outer.span):
        inner = recording.begin()
    assert inner is not None
    inner.end()
    outer.end()

    first, second = recording.spans
    assert first.parent is not None
    assert second.context is not None
    assert first.parent.span_id == second.context.span_id


def test_nothing_is_recorded_under_a_current_span_that_is_not(recording: Recording) -> None:
    spent(recording.telemetry)

    with recording.telemetry.tracer.start_as_current_span("request"):
        assert recording.begin() is None


def test_a_request_follows_its_callers_trace(recording: Recording) -> None:
    spent(recording.telemetry)

    recording.telemetry.begin_request("SchedulerService/GetRun", SAMPLED, {"rpc.method": "GetRun"}).end()

    (span,) = recording.spans
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, "00f067aa0ba902b7")
    assert (span.name, span.kind, dict(span.attributes or {})) == ("SchedulerService/GetRun", SpanKind.SERVER, {"rpc.method": "GetRun"})


@pytest.mark.parametrize("header", [UNSAMPLED, ""])
def test_a_request_that_is_not_recorded_carries_its_trace_on_and_lets_nobody_begin_another(recording: Recording, header: str) -> None:
    if not header:
        spent(recording.telemetry)
    span = recording.telemetry.begin_request("SchedulerService/GetRun", header, {})

    carried = traceparent(span)
    assert carried.startswith(f"00-{TRACE}-" if header else "00-")
    assert is_unsampled(carried)
    recording.telemetry._roots = RateLimit(1000, 1000)
    with use_span(span):
        assert recording.begin() is None
    assert recording.spans == ()


def test_a_failure_is_on_the_span(recording: Recording) -> None:
    call = recording.begin()
    assert call is not None
    call.end("AGENT_ERROR", "no such row")

    (span,) = recording.spans
    assert (span.attributes or {})["parade.reason"] == "AGENT_ERROR"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no such row")


@pytest.mark.parametrize("traceparent", ["", UNSAMPLED, SAMPLED])
def test_a_failed_call_has_a_span_after_the_fact(recording: Recording, traceparent: str) -> None:
    spent(recording.telemetry)

    recording.telemetry.failed_call("echo.echo", SpanKind.SERVER, 1.5, "AGENT_LOST", "it is gone", traceparent)

    (span,) = recording.spans
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(1.5, abs=0.5)
    assert (span.attributes or {})["parade.reason"] == "AGENT_LOST"
    assert span.context is not None
    assert (f"{span.context.trace_id:032x}" == TRACE) == bool(traceparent)
    assert span.context.trace_flags.sampled


def test_many_failed_calls_have_few_spans(recording: Recording) -> None:
    for _ in range(500):
        recording.telemetry.failed_call("echo.echo", SpanKind.SERVER, 0, "AGENT_LOST")

    assert 20 <= len(recording.spans) < 60


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", "00-1-2-01", f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-00f067aa0ba902b7-zz"],
)
def test_what_is_no_traceparent_is_no_parent(traceparent: str) -> None:
    assert parent(traceparent) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_a_traceparent(text: str) -> None:
    parent(text)
    is_unsampled(text)


def test_a_limit_allows_a_burst_and_then_a_rate() -> None:
    now = 100.0
    limit = RateLimit(50, 50, lambda: now)

    burst = sum(limit.take() for _ in range(1000))
    now += 1.0
    second = sum(limit.take() for _ in range(1000))
    now += 1000.0
    after = sum(limit.take() for _ in range(1000))

    assert (burst, second, after) == (50, 50, 50)
