import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from parade.wire.identity import Identity
from parade_monitor.model import LogRecord, MetricKind, Point, Severity, Source, Span, SpanStatus, Temporality
from parade_monitor.otlp import FUTURE, MAX_RECORDS, Taken, taken_logs, taken_points, taken_spans
from tests.unit.monitor.records import SECOND, START, TRACE

AGENT = Identity.agent("analyst", "a-1", "team")
TRACE_ID = bytes.fromhex(TRACE)
SPAN_ID = bytes.fromhex("b7ad6b7169203331")


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def logs(*records: logs_pb2.LogRecord, resource: Resource | None = None, sender: Identity = AGENT) -> Taken:
    group = logs_pb2.ResourceLogs(resource=resource, scope_logs=[logs_pb2.ScopeLogs(log_records=records)])
    return taken_logs(ExportLogsServiceRequest(resource_logs=[group]), sender, START)


def spans(*given: trace_pb2.Span, sender: Identity = AGENT) -> Taken:
    group = trace_pb2.ResourceSpans(scope_spans=[trace_pb2.ScopeSpans(spans=given)])
    return taken_spans(ExportTraceServiceRequest(resource_spans=[group]), sender, START)


def points(*metrics: metrics_pb2.Metric) -> Taken:
    group = metrics_pb2.ResourceMetrics(scope_metrics=[metrics_pb2.ScopeMetrics(metrics=metrics)])
    return taken_points(ExportMetricsServiceRequest(resource_metrics=[group]), AGENT, START)


def only(taken: Taken) -> Any:
    assert not taken.refused
    (record,) = taken.records
    return record


def test_a_log_record_keeps_what_it_says() -> None:
    record = logs_pb2.LogRecord(
        time_unix_nano=START - SECOND,
        severity_number=logs_pb2.SEVERITY_NUMBER_WARN,
        body=AnyValue(string_value="lease lost"),
        attributes=[text("run_id", "run-1"), text("shard", "3")],
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
    )

    taken = logs(record, resource=Resource(attributes=[text("service.name", "scheduler"), text("service.instance.id", "s-9")]))

    assert only(taken) == LogRecord(
        time=START - SECOND,
        severity=Severity.WARNING,
        source=Source("team", "scheduler", "s-9"),
        event="lease lost",
        fields='{"run_id":"run-1","shard":"3"}',
        trace_id=TRACE,
        span_id=SPAN_ID.hex(),
        run_id="run-1",
    )


def test_the_namespace_is_the_senders_whatever_the_resource_says() -> None:
    claimed = Resource(attributes=[text("service.namespace", "other")])

    assert only(logs(logs_pb2.LogRecord(), resource=claimed)).source.namespace == "team"
    assert only(logs(logs_pb2.LogRecord(), resource=claimed, sender=Identity.service("scheduler"))).source.namespace == ""


SPAN = trace_pb2.Span(trace_id=TRACE_ID, span_id=SPAN_ID, start_time_unix_nano=START)


def of_a_span(claimed: str, sender: Identity) -> str:
    whole = trace_pb2.Span()
    whole.CopyFrom(SPAN)
    whole.attributes.append(text("parade.namespace", claimed))
    taken: Span = only(spans(whole, sender=sender))
    return taken.source.namespace


def test_a_service_says_whose_work_it_tells_of_and_nobody_else_does() -> None:
    said = logs_pb2.LogRecord(attributes=[text("namespace", "team-b")])
    scheduler, agent = Identity.service("scheduler"), Identity.agent("analyst", "a-1", "team")

    assert only(logs(said, sender=scheduler)).source.namespace == "team-b"
    assert only(logs(said, sender=agent)).source.namespace == "team"
    assert of_a_span("team-b", scheduler) == "team-b"
    assert of_a_span("team-b", agent) == "team"


@pytest.mark.parametrize("claimed", ["", "*", "Team", "team/../b", "a" * 41])
def test_what_a_service_says_is_a_namespace_or_none(claimed: str) -> None:
    assert of_a_span(claimed, Identity.service("scheduler")) == ""


def test_a_sender_that_does_not_name_itself_is_called_as_in_its_certificate() -> None:
    assert only(logs(logs_pb2.LogRecord())).source == Source("team", "analyst", "a-1")


@pytest.mark.parametrize(
    ("number", "severity"),
    [
        (0, Severity.INFO),
        (1, Severity.DEBUG),
        (8, Severity.DEBUG),
        (9, Severity.INFO),
        (12, Severity.INFO),
        (13, Severity.WARNING),
        (16, Severity.WARNING),
        (17, Severity.ERROR),
        (24, Severity.ERROR),
    ],
)
def test_severity_numbers_fall_into_four_levels(number: int, severity: Severity) -> None:
    record = logs_pb2.LogRecord()
    record.severity_number = number  # type: ignore[assignment]

    assert only(logs(record)).severity is severity


def test_a_log_record_without_a_time_has_that_of_its_observation_or_arrival() -> None:
    assert only(logs(logs_pb2.LogRecord(observed_time_unix_nano=7))).time == 7
    assert only(logs(logs_pb2.LogRecord())).time == START


def test_ids_of_the_wrong_length_are_left_out_of_log_records() -> None:
    record = only(logs(logs_pb2.LogRecord(trace_id=b"short", span_id=bytes(8))))

    assert (record.trace_id, record.span_id) == ("", "")


def test_records_from_the_future_are_refused_since_they_would_outlive_retention() -> None:
    taken = logs(logs_pb2.LogRecord(time_unix_nano=START + FUTURE + 1), logs_pb2.LogRecord(time_unix_nano=2**64 - 1), logs_pb2.LogRecord())

    assert len(taken.records) == 1
    assert taken.refused_count == 2
    assert taken.message == "2 × a time more than a day ahead of the monitor's clock"


def test_records_beyond_the_bound_of_a_request_are_refused() -> None:
    taken = logs(*[logs_pb2.LogRecord()] * (MAX_RECORDS + 3))

    assert (len(taken.records), taken.refused_count) == (MAX_RECORDS, 3)


def test_a_span_keeps_what_it_says() -> None:
    given = trace_pb2.Span(
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        parent_span_id=b"\x01" * 8,
        name="describe",
        start_time_unix_nano=START - 5,
        end_time_unix_nano=START - 2,
        status=trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR, message="no such column"),
        attributes=[text("function", "analyst.describe")],
    )

    assert only(spans(given)) == Span(
        trace_id=TRACE,
        span_id=SPAN_ID.hex(),
        parent_span_id="01" * 8,
        source=Source("team", "analyst", "a-1"),
        name="describe",
        start_time=START - 5,
        end_time=START - 2,
        status=SpanStatus.ERROR,
        status_message="no such column",
        attributes='{"function":"analyst.describe"}',
    )


def test_spans_without_ids_or_a_start_are_refused_with_the_reasons() -> None:
    taken = spans(
        trace_pb2.Span(span_id=SPAN_ID, start_time_unix_nano=1),
        trace_pb2.Span(trace_id=TRACE_ID, span_id=bytes(8), start_time_unix_nano=1),
        trace_pb2.Span(trace_id=TRACE_ID, span_id=SPAN_ID),
    )

    assert not taken.records
    assert taken.refused_count == 3
    assert taken.message == "2 × a span without a trace id or a span id; 1 × a span without a start"


def test_a_span_never_ends_before_its_start() -> None:
    span = only(spans(trace_pb2.Span(trace_id=TRACE_ID, span_id=SPAN_ID, start_time_unix_nano=START, end_time_unix_nano=START - 1)))

    assert span.end_time == START


def test_gauges_and_sums_keep_their_values() -> None:
    taken = points(
        metrics_pb2.Metric(name="load", unit="1", gauge=metrics_pb2.Gauge(data_points=[metrics_pb2.NumberDataPoint(as_double=0.5)])),
        metrics_pb2.Metric(
            name="calls",
            sum=metrics_pb2.Sum(
                aggregation_temporality=metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE,
                data_points=[metrics_pb2.NumberDataPoint(as_int=7, start_time_unix_nano=START - SECOND, time_unix_nano=START)],
            ),
        ),
    )

    load, calls = taken.records
    assert isinstance(load, Point)
    assert (load.kind, load.value, load.time, load.unit) == (MetricKind.GAUGE, 0.5, START, "1")
    assert isinstance(calls, Point)
    assert (calls.kind, calls.value, calls.start_time, calls.temporality) == (MetricKind.SUM, 7.0, START - SECOND, Temporality.CUMULATIVE)


def test_histograms_are_summarised_with_their_buckets() -> None:
    histogram = metrics_pb2.HistogramDataPoint(count=3, sum=6.0, min=1.0, max=3.0, explicit_bounds=[2.0], bucket_counts=[1, 2])
    exponential = metrics_pb2.ExponentialHistogramDataPoint(
        count=2, scale=1, positive=metrics_pb2.ExponentialHistogramDataPoint.Buckets(offset=4, bucket_counts=[2])
    )

    taken = points(
        metrics_pb2.Metric(name="d", histogram=metrics_pb2.Histogram(data_points=[histogram])),
        metrics_pb2.Metric(name="e", exponential_histogram=metrics_pb2.ExponentialHistogram(data_points=[exponential])),
    )

    first, second = taken.records
    assert isinstance(first, Point)
    assert (first.count, first.sum, first.min, first.max, first.value) == (3, 6.0, 1.0, 3.0, None)
    assert json.loads(first.buckets or "") == {"bounds": [2.0], "counts": [1, 2]}
    assert isinstance(second, Point)
    assert (second.kind, second.count, second.sum) == (MetricKind.EXPONENTIAL_HISTOGRAM, 2, None)
    assert json.loads(second.buckets or "")["positive"] == {"offset": 4, "counts": [2]}


def test_points_that_say_nothing_are_passed_over_and_summaries_refused() -> None:
    silent = metrics_pb2.NumberDataPoint(flags=metrics_pb2.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
    summary = metrics_pb2.Summary(data_points=[metrics_pb2.SummaryDataPoint(), metrics_pb2.SummaryDataPoint()])

    taken = points(
        metrics_pb2.Metric(name="silent", gauge=metrics_pb2.Gauge(data_points=[silent])), metrics_pb2.Metric(name="old", summary=summary)
    )

    assert not taken.records
    assert taken.refused == {"a metric that is no gauge, sum or histogram": 2}
