"""What a process says of itself: spans, metrics and log records, sent by the stock OTLP exporters to the monitor.

Losing telemetry never disturbs the process: queues are bounded, exports have deadlines, and failures are not reported. What happens with
every call costs next to nothing: new traces are recorded at a limited rate, and calls are counted in tallies.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import getrandbits
from typing import Any, Self, TypeVar

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from parade.wire import call_span
from parade.wire.call_span import CallSpan
from parade.wire.certificates import CertificateSource
from parade.wire.log import RedactedFormatter
from parade.wire.recorded_span import Fact, RecordedSpan
from parade.wire.sampling import BURST, TRACES_PER_SECOND, RateLimit, sampler
from parade.wire.span_exporter import SpanExporter
from parade.wire.tally import CallTally, Tally
from parade.wire.tally_exporter import TallyExporter
from parade.wire.tls import channel_credentials

EXPORT_TIMEOUT = 2.0
"""Seconds that one export, and so the shutdown, may take."""
FLUSH_INTERVAL_MS = 1000
"""How long spans and log records wait for others."""
METRICS_INTERVAL_MS = 15_000
FAILED_PER_SECOND = 20.0
"""Failed calls of traces that nobody records for which a span is made all the same."""

_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}
_TallyT = TypeVar("_TallyT", bound=Tally)
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Collector:
    """Where telemetry goes."""

    target: str
    """`host:port` of the monitor, or of any OTLP collector behind mutual TLS."""
    server_name: str
    """The DNS name in its certificate."""
    source: CertificateSource
    """The certificates to show."""


class Telemetry:
    """A process's tracer, meter and log, with everything it takes to export them. Without a collector nothing leaves the process."""

    def __init__(self, service: str, instance_id: str, namespace: str = "", collector: Collector | None = None) -> None:
        """Starts the exporters, which connect on their own.

        Args:
            service: The name of the service or agent.
            instance_id: Which copy of it this is.
            namespace: Its namespace; empty for services.
            collector: Where telemetry goes.
        """
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        if logging.lastResort is not None:  # where warnings of libraries go in a process that has set up nothing else
            logging.lastResort.setFormatter(RedactedFormatter())
        resource = Resource(
            {"service.name": service, "service.instance.id": instance_id, **({"service.namespace": namespace} if namespace else {})}
        )
        self._roots = RateLimit(TRACES_PER_SECOND, BURST)
        self._failures = RateLimit(FAILED_PER_SECOND, int(FAILED_PER_SECOND))
        self._tallies: TallyExporter | None = None
        self._ended = False
        self._spans = TracerProvider(sampler(self._roots), resource, shutdown_on_exit=False)
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        readers = []
        if collector is not None:
            self._spans.add_span_processor(
                BatchSpanProcessor(
                    _renewing(SpanExporter, collector),
                    schedule_delay_millis=FLUSH_INTERVAL_MS,
                    export_timeout_millis=EXPORT_TIMEOUT * 1000,
                )
            )
            self._logs.add_log_record_processor(
                BatchLogRecordProcessor(
                    _renewing(OTLPLogExporter, collector),
                    schedule_delay_millis=FLUSH_INTERVAL_MS,
                    export_timeout_millis=EXPORT_TIMEOUT * 1000,
                )
            )
            exporter = _renewing(OTLPMetricExporter, collector)
            self._tallies = TallyExporter(exporter, resource, METRICS_INTERVAL_MS / 1000)
            readers.append(
                PeriodicExportingMetricReader(
                    exporter, export_interval_millis=METRICS_INTERVAL_MS, export_timeout_millis=EXPORT_TIMEOUT * 1000
                )
            )
        self._metrics = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        self._logger = self._logs.get_logger("parade")
        self.tracer = self._spans.get_tracer("parade")
        self.meter = self._metrics.get_meter("parade")

    def __enter__(self) -> Self:
        """Returns the telemetry; what is queued is sent at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends as `end` does, unless that has been done."""
        self.end()

    def end(self) -> None:
        """Sends what is queued and stops. Where nobody takes it, that lasts little longer than `EXPORT_TIMEOUT`.

        What is said afterwards goes nowhere. A second call does nothing.
        """
        if self._ended:
            return
        self._ended = True
        with ThreadPoolExecutor(3) as together:
            for end in (self._spans.shutdown, self._logs.shutdown, self._end_metrics):
                together.submit(end)

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        """Sends one log record, tied to the current span.

        Args:
            severity: `debug`, `info`, `warning` or `error`.
            event: What happened, a constant text.
            fields: The facts of this time; anything that is not a number, a text or a truth value is sent as text.
        """
        attributes = {key: value if isinstance(value, str | int | float | bool) else str(value) for key, value in fields.items()}
        self._logger.emit(severity_number=_SEVERITIES[severity], severity_text=severity, body=event, attributes=attributes)

    def begin_call(
        self,
        name: str,
        kind: SpanKind,
        traceparent: str = "",
        attributes: Mapping[str, Fact] | None = None,
        *,
        root: bool = True,
    ) -> CallSpan | None:
        """Opens the span of a call, without making it the current one.

        Its parent is the one that `traceparent` names, or else the current span. A parent's trace is followed where it is recorded; a new
        trace is recorded where the limit allows.

        Args:
            name: The function.
            kind: Which side of the call this is.
            traceparent: The caller's span; empty where it names none.
            attributes: What is known of the call.
            root: Whether a call without a parent may begin a trace.

        Returns:
            The span, to be ended by the caller; None where nothing is recorded.
        """
        parent = None
        if traceparent:
            if call_span.is_unsampled(traceparent):
                return None
            parent = call_span.parent(traceparent)
        if parent is None:
            current = get_current_span()
            if current is not INVALID_SPAN:
                parent = current.get_span_context()
                if not parent.trace_flags.sampled:
                    return None
            elif not root or self._tallies is None or not self._roots.take():
                return None
        return self._begun(name, kind, parent, attributes)

    def begin_request(self, name: str, traceparent: str, attributes: Mapping[str, Fact]) -> Span:
        """Opens the span of a request that is answered here, without making it the current one.

        The caller's trace is followed where it is recorded; a new one is recorded where the limit allows.

        Args:
            name: The method.
            traceparent: The caller's span; empty where it names none.
            attributes: What is known of the request.

        Returns:
            The span, to be ended by the caller. Where nothing is recorded it carries the trace on, so that nobody below begins another.
        """
        parent = call_span.parent(traceparent) if traceparent else None
        recorded = self._roots.take() if parent is None else parent.trace_flags.sampled
        begun = self._begun(name, SpanKind.SERVER, parent, attributes) if recorded else None
        if begun is not None:
            return begun.span
        trace_id = (getrandbits(128) or 1) if parent is None else parent.trace_id
        return NonRecordingSpan(SpanContext(trace_id, getrandbits(64) or 1, is_remote=False))

    def failed_call(
        self,
        name: str,
        kind: SpanKind,
        seconds: float,
        reason: str,
        message: str = "",
        traceparent: str = "",
        attributes: Mapping[str, Fact] | None = None,
    ) -> None:
        """Makes the span of a call that has failed, for which `begin_call` gave none; as many as a limit allows.

        Args:
            name: The function.
            kind: Which side of the call this is.
            seconds: How long ago it began.
            reason: Why it failed.
            message: What to say of it.
            traceparent: The caller's span; empty where it names none.
            attributes: What is known of the call.
        """
        if self._tallies is None or not self._failures.take():
            return
        start = time.time_ns() - int(seconds * 1e9)
        span = self._begun(name, kind, call_span.parent(traceparent), attributes, start)
        if span is not None:
            span.end(reason, message)

    def tally(
        self, attributes: Sequence[str], durations: Mapping[str, str], count: tuple[str, str] | None = None, outcome: str = ""
    ) -> Tally:
        """Returns a new tally, which is exported with the other metrics; see `Tally` for the arguments."""
        return self._added(Tally(attributes, durations, count, outcome))

    def call_tally(self) -> CallTally:
        """Returns a new tally of a dispatcher's calls, which is exported with the other metrics."""
        return self._added(CallTally())

    def _begun(
        self, name: str, kind: SpanKind, parent: SpanContext | None, attributes: Mapping[str, Fact] | None, start_time: int = 0
    ) -> CallSpan | None:
        tracer = self.tracer
        if not isinstance(tracer, Tracer):
            return None  # OpenTelemetry is switched off by its own environment variable
        return CallSpan(RecordedSpan(name, kind, parent, attributes, tracer.resource, tracer.span_processor, start_time))

    def _added(self, tally: _TallyT) -> _TallyT:
        if self._tallies is not None:
            self._tallies.add(tally)
        return tally

    def _end_metrics(self) -> None:
        if self._tallies is not None:
            self._tallies.end()
        self._metrics.shutdown()


def _renewing(kind: Any, collector: Collector) -> Any:
    """Returns an exporter of a stock kind that outlives the certificate it began with."""
    return _Renewing(kind, collector)


class _Renewing:
    """A stock exporter that is made anew when the certificate is, since it holds for good the credentials it was given."""

    def __init__(self, kind: Any, collector: Collector) -> None:
        self._kind = kind
        self._collector = collector
        self._exporting = threading.Lock()
        self._renew()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def export(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        with self._exporting:  # stock exporters take one export at a time
            if self._collector.source.current() is not self._shown:
                self._inner.shutdown()
                self._renew()
            return self._inner.export(batch, *args, **kwargs)

    def _renew(self) -> None:
        self._shown = self._collector.source.current()
        self._inner = self._kind(
            endpoint=self._collector.target,
            insecure=False,
            credentials=channel_credentials(self._shown),
            timeout=EXPORT_TIMEOUT,
            channel_options=(("grpc.ssl_target_name_override", self._collector.server_name),),
        )


def traceparent(span: trace.Span) -> str:
    """Returns the W3C `traceparent` of a span, for those who keep it."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent", "")
