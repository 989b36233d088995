"""OpenTelemetry's export requests as records: pure, and within bounds. What cannot be kept is counted, with the reason.

Source of the format: https://opentelemetry.io/docs/specs/otlp/ and the data model of each signal.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from parade.wire.identity import NAME, Identity
from parade_monitor.attributes import MAX_NAME, clipped, texts, to_json, to_text
from parade_monitor.model import LogRecord, MetricKind, Point, Record, Severity, Source, Span, SpanStatus, Temporality

MAX_RECORDS = 10_000
"""Records of one request."""
MAX_BUCKETS = 320
"""Buckets of one histogram: twice what OpenTelemetry's exponential histograms have."""
FUTURE = 24 * 3600 * 10**9
"""How far ahead a sender's clock may be, in nanoseconds. What lies further ahead would outlive all retention."""

_MAX_COUNT = 2**63 - 1
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)
_OF_NAMESPACE = ("parade.namespace", "namespace")  # spans have the one, log records the other
_STATUSES = {status.value: status for status in SpanStatus}
_TEMPORALITIES = {temporality.value: temporality for temporality in Temporality}

HistogramPoint = metrics_pb2.HistogramDataPoint | metrics_pb2.ExponentialHistogramDataPoint


@dataclass(slots=True)
class Taken:
    """What a request held."""

    latest: int
    """The latest time that a record may have."""
    records: list[Record] = field(default_factory=list)
    """What can be kept."""
    refused: "Counter[str]" = field(default_factory=Counter)
    """How many records cannot be kept, by the reason."""

    @property
    def refused_count(self) -> int:
        """How many records cannot be kept."""
        return self.refused.total()

    @property
    def message(self) -> str:
        """Why, for people."""
        return "; ".join(f"{count} × {reason}" for reason, count in self.refused.items())

    def add(self, record: Record, time: int) -> None:
        """Keeps a record unless it is one too many, or from the future."""
        if len(self.records) >= MAX_RECORDS:
            self.refused[f"more than {MAX_RECORDS} records in one request"] += 1
        elif time > self.latest:
            self.refused["a time more than a day ahead of the monitor's clock"] += 1
        else:
            self.records.append(record)


def taken_logs(request: ExportLogsServiceRequest, sender: Identity, now: int) -> Taken:
    """Reads log records. One without a time gets the time at which it was observed, or `now`."""
    taken = Taken(now + FUTURE)
    for group in request.resource_logs:
        source = _source(group.resource, sender)
        for scope in group.scope_logs:
            for record in scope.log_records:
                time = record.time_unix_nano or record.observed_time_unix_nano or now
                taken.add(_log(record, source, time), time)
    return taken


def taken_spans(request: ExportTraceServiceRequest, sender: Identity, now: int) -> Taken:
    """Reads spans. One without ids or a start cannot be kept."""
    taken = Taken(now + FUTURE)
    for group in request.resource_spans:
        source = _source(group.resource, sender)
        for scope in group.scope_spans:
            for span in scope.spans:
                if not _given(span.trace_id, _NO_TRACE) or not _given(span.span_id, _NO_SPAN):
                    taken.refused["a span without a trace id or a span id"] += 1
                elif span.start_time_unix_nano == 0:
                    taken.refused["a span without a start"] += 1
                else:
                    taken.add(_span(span, source), max(span.start_time_unix_nano, span.end_time_unix_nano))
    return taken


def taken_points(request: ExportMetricsServiceRequest, sender: Identity, now: int) -> Taken:
    """Reads metric points. One without a time gets `now`; a point that says that nothing was recorded is passed over."""
    taken = Taken(now + FUTURE)
    for group in request.resource_metrics:
        source = _source(group.resource, sender)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                _take_metric(taken, metric, source, now)
    return taken


def _source(resource: Resource, sender: Identity) -> Source:
    # Who it is, the sender says; whose it is, its certificate.
    named = texts(resource.attributes)
    return Source(
        namespace=sender.namespace,
        service=named.get("service.name") or sender.name,
        instance_id=named.get("service.instance.id") or sender.instance,
    )


def _owned(source: Source, attributes: Iterable[KeyValue]) -> Source:
    """Returns the source with the namespace that a record is of: a service, which is of none itself, says for which it has worked."""
    if source.namespace:
        return source
    named = texts(attribute for attribute in attributes if attribute.key in _OF_NAMESPACE)
    said = next(iter(named.values()), "")
    return replace(source, namespace=said) if NAME.fullmatch(said) else source


def _given(identifier: bytes, absent: bytes) -> bool:
    return len(identifier) == len(absent) and identifier != absent


def _log(record: logs_pb2.LogRecord, source: Source, time: int) -> LogRecord:
    return LogRecord(
        time=time,
        severity=_severity(record.severity_number),
        source=_owned(source, record.attributes),
        event=to_text(record.body) or clipped(record.event_name),
        fields=to_json(record.attributes, record.dropped_attributes_count),
        trace_id=record.trace_id.hex() if _given(record.trace_id, _NO_TRACE) else "",
        span_id=record.span_id.hex() if _given(record.span_id, _NO_SPAN) else "",
        run_id=texts(record.attributes).get("run_id", ""),
    )


def _severity(number: int) -> Severity:
    # OpenTelemetry counts 1 to 24, four to a level from TRACE to FATAL; none at all is compared as INFO.
    match (number - 1) // 4:
        case 0 | 1:
            return Severity.DEBUG
        case 3:
            return Severity.WARNING
        case 4 | 5:
            return Severity.ERROR
    return Severity.INFO


def _span(span: trace_pb2.Span, source: Source) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() if _given(span.parent_span_id, _NO_SPAN) else "",
        source=_owned(source, span.attributes),
        name=clipped(span.name),
        start_time=span.start_time_unix_nano,
        end_time=max(span.start_time_unix_nano, span.end_time_unix_nano),
        status=_STATUSES.get(span.status.code, SpanStatus.UNSET),
        status_message=clipped(span.status.message),
        attributes=to_json(span.attributes, span.dropped_attributes_count),
    )


def _take_metric(taken: Taken, metric: metrics_pb2.Metric, source: Source, now: int) -> None:
    shape = metric.WhichOneof("data")
    if shape is None or shape == "summary":
        taken.refused["a metric that is no gauge, sum or histogram"] += max(1, len(metric.summary.data_points))
        return
    data = getattr(metric, shape)
    points: Iterable[Any] = data.data_points
    temporality = getattr(data, "aggregation_temporality", 0)
    for point in points:
        if point.flags & metrics_pb2.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            continue
        time = point.time_unix_nano or now
        common = {
            "time": time,
            "start_time": min(point.start_time_unix_nano, time),
            "source": source,
            "name": clipped(metric.name, MAX_NAME),
            "unit": clipped(metric.unit, MAX_NAME),
            "kind": MetricKind(shape),
            "temporality": _TEMPORALITIES.get(temporality, Temporality.UNSPECIFIED),
            "attributes": to_json(point.attributes),
        }
        if isinstance(point, metrics_pb2.NumberDataPoint):
            taken.add(Point(**common, value=float(getattr(point, point.WhichOneof("value") or "as_int"))), time)
        elif point.count > _MAX_COUNT:
            taken.refused["a histogram that counts more than 2⁶³ values"] += 1
        else:
            taken.add(Point(**common, **_distribution(point)), time)


def _distribution(point: HistogramPoint) -> dict[str, Any]:
    buckets = _buckets(point) if isinstance(point, metrics_pb2.HistogramDataPoint) else _exponential_buckets(point)
    return {
        "count": point.count,
        "sum": point.sum if point.HasField("sum") else None,
        "min": point.min if point.HasField("min") else None,
        "max": point.max if point.HasField("max") else None,
        "buckets": orjson.dumps(buckets).decode(),
    }


def _buckets(point: metrics_pb2.HistogramDataPoint) -> dict[str, Any]:
    return {"bounds": list(point.explicit_bounds[:MAX_BUCKETS]), "counts": list(point.bucket_counts[:MAX_BUCKETS])}


def _exponential_buckets(point: metrics_pb2.ExponentialHistogramDataPoint) -> dict[str, Any]:
    def side(buckets: metrics_pb2.ExponentialHistogramDataPoint.Buckets) -> dict[str, Any]:
        return {"offset": buckets.offset, "counts": list(buckets.bucket_counts[:MAX_BUCKETS])}

    return {
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": point.zero_threshold,
        "positive": side(point.positive),
        "negative": side(point.negative),
    }
