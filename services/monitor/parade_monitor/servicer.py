"""The RPCs of the monitor: its own, and the three collector services of OpenTelemetry. It decodes, asks the engine, and encodes."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from parade.v1 import monitor_pb2, monitor_pb2_grpc
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Kind
from parade_chassis.clock import Clock
from parade_chassis.context import current, seen_namespace
from parade_chassis.grants import Grants
from parade_monitor import convert, otlp
from parade_monitor.engine import Engine

Context = grpc.aio.ServicerContext[Any, Any]

_SENDERS = frozenset(Kind) - {Kind.ANONYMOUS}

RECEIVERS = {
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": _SENDERS,
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": _SENDERS,
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": _SENDERS,
}
"""Who may send records: everybody with a certificate of this mesh."""


class MonitorServicer(monitor_pb2_grpc.MonitorServiceServicer):
    """Answers questions."""

    def __init__(self, engine: Engine, grants: Grants) -> None:
        """Takes the engine, and who is admin of more than a namespace."""
        self._engine = engine
        self._grants = grants

    async def QueryLogs(self, request: monitor_pb2.QueryLogsRequest, context: Context) -> monitor_pb2.QueryLogsResponse:
        """See the contract."""
        question = convert.to_log_question(request, seen_namespace(self._grants))
        return convert.from_page(await self._engine.query_logs(question.wanted, question.size, question.before), question.wanted)

    async def TailLogs(self, request: monitor_pb2.TailLogsRequest, context: Context) -> AsyncIterator[monitor_pb2.TailLogsResponse]:
        """See the contract."""
        namespace = seen_namespace(self._grants)
        question = convert.to_tail_question(request, namespace)
        async with aclosing(self._engine.tail_logs(question.wanted, question.last)) as records:
            async for record in records:
                if seen_namespace(self._grants) != namespace:
                    raise ParadeError(Reason.PERMISSION_DENIED, "what you may see has changed; tail again")
                yield monitor_pb2.TailLogsResponse(record=convert.from_log(record))

    async def GetTrace(self, request: monitor_pb2.GetTraceRequest, context: Context) -> monitor_pb2.GetTraceResponse:
        """See the contract."""
        spans = await self._engine.trace(seen_namespace(self._grants), convert.to_trace_id(request))
        return monitor_pb2.GetTraceResponse(spans=[convert.from_span(span) for span in spans])


class LogsReceiver(logs_service_pb2_grpc.LogsServiceServicer):
    """Takes log records in, as OTLP says."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """Takes the engine and the time."""
        self._engine = engine
        self._clock = clock

    async def Export(
        self, request: logs_service_pb2.ExportLogsServiceRequest, context: Context
    ) -> logs_service_pb2.ExportLogsServiceResponse:
        """Takes log records in; those that cannot be kept are counted in the answer."""
        taken = otlp.taken_logs(request, current().caller, _nanoseconds(self._clock))
        taken.refused += self._engine.take(taken.records)
        if not taken.refused:
            return logs_service_pb2.ExportLogsServiceResponse()
        partial = logs_service_pb2.ExportLogsPartialSuccess(rejected_log_records=taken.refused_count, error_message=taken.message)
        return logs_service_pb2.ExportLogsServiceResponse(partial_success=partial)


class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans in, as OTLP says."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """Takes the engine and the time."""
        self._engine = engine
        self._clock = clock

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Context
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Takes spans in; those that cannot be kept are counted in the answer."""
        taken = otlp.taken_spans(request, current().caller, _nanoseconds(self._clock))
        taken.refused += self._engine.take(taken.records)
        if not taken.refused:
            return trace_service_pb2.ExportTraceServiceResponse()
        partial = trace_service_pb2.ExportTracePartialSuccess(rejected_spans=taken.refused_count, error_message=taken.message)
        return trace_service_pb2.ExportTraceServiceResponse(partial_success=partial)


class MetricsReceiver(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Takes metric points in, as OTLP says."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """Takes the engine and the time."""
        self._engine = engine
        self._clock = clock

    async def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: Context
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Takes metric points in; those that cannot be kept are counted in the answer."""
        taken = otlp.taken_points(request, current().caller, _nanoseconds(self._clock))
        taken.refused += self._engine.take(taken.records)
        if not taken.refused:
            return metrics_service_pb2.ExportMetricsServiceResponse()
        partial = metrics_service_pb2.ExportMetricsPartialSuccess(rejected_data_points=taken.refused_count, error_message=taken.message)
        return metrics_service_pb2.ExportMetricsServiceResponse(partial_success=partial)


def _nanoseconds(clock: Clock) -> int:
    return int(clock.now().timestamp() * 1e9)
