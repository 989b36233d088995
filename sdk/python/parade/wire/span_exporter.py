"""Sends spans by the stock OTLP exporter, and encodes those of calls itself: there are many, and they have little in them."""

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from parade.wire.recorded_span import RecordedSpan
from parade.wire.redaction import redacted

_KINDS: Mapping[SpanKind, trace_pb2.Span.SpanKind.ValueType] = {
    SpanKind.INTERNAL: trace_pb2.Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: trace_pb2.Span.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: trace_pb2.Span.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: trace_pb2.Span.SPAN_KIND_CONSUMER,
}


class SpanExporter(OTLPSpanExporter):
    """The exporter."""

    def _translate_data(self, data: Sequence[ReadableSpan]) -> trace_service_pb2.ExportTraceServiceRequest:
        return encoded(data)


def encoded(spans: Sequence[ReadableSpan | RecordedSpan]) -> trace_service_pb2.ExportTraceServiceRequest:
    """Encodes spans of one resource.

    Args:
        spans: At least one.
    """
    plain = [span for span in spans if isinstance(span, RecordedSpan) and span.is_plain]
    if not plain:
        return _redacted(encode_spans(spans))  # type: ignore[arg-type]  # it reads no more of them than a `RecordedSpan` has
    # The first goes with the others, so that there is something to add to.
    others = [span for span in spans if not (isinstance(span, RecordedSpan) and span.is_plain)]
    request = _redacted(encode_spans([plain[0], *others]))  # type: ignore[list-item]  # as above
    added = request.resource_spans[0].scope_spans[0].spans
    for span in plain[1:]:
        _encode(span, added.add())
    return request


def _redacted(request: trace_service_pb2.ExportTraceServiceRequest) -> trace_service_pb2.ExportTraceServiceRequest:
    """Takes secrets out of what others say in spans: authors of functions, and failures. In those of plain calls nobody's words are."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.name, span.status.message = redacted(span.name), redacted(span.status.message)
                for event in span.events:
                    event.name = redacted(event.name)
                for attributes in (
                    span.attributes,
                    *(event.attributes for event in span.events),
                    *(link.attributes for link in span.links),
                ):
                    for attribute in attributes:
                        _redact(attribute.value)
    return request


def _redact(value: common_pb2.AnyValue) -> None:
    match value.WhichOneof("value"):
        case "string_value":
            value.string_value = redacted(value.string_value)
        case "array_value":
            for item in value.array_value.values:
                _redact(item)
        case "kvlist_value":
            for pair in value.kvlist_value.values:
                _redact(pair.value)


def _encode(span: RecordedSpan, message: trace_pb2.Span) -> None:
    context, parent = span.context, span.parent
    message.trace_id = context.trace_id.to_bytes(16, "big")
    message.span_id = context.span_id.to_bytes(8, "big")
    message.flags = trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    if parent is not None:
        message.parent_span_id = parent.span_id.to_bytes(8, "big")
        if parent.is_remote:
            message.flags |= trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    if context.trace_state:
        message.trace_state = context.trace_state.to_header()
    message.name = span.name
    message.kind = _KINDS[span.kind]
    message.start_time_unix_nano = span.start_time
    message.end_time_unix_nano = span.end_time or span.start_time
    message.status.SetInParent()
    for key, value in span.facts.items():
        attribute = message.attributes.add(key=key)
        if isinstance(value, str):
            attribute.value.string_value = value
        elif isinstance(value, bool):
            attribute.value.bool_value = value
        else:
            attribute.value.int_value = value
