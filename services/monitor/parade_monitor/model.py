"""What was observed: log records, spans and metric points, and the question that log records answer. It decides nothing.

Times are nanoseconds since 1970 in UTC, as OpenTelemetry counts them. Attributes are JSON objects, encoded.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from parade.wire.roles import EVERYWHERE

_OVERHEAD_BYTES = 200  # what a record takes beside its texts, roughly


class Severity(IntEnum):
    """How grave a log record is: the numbers of `parade.v1.Severity`."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4


class SpanStatus(IntEnum):
    """How a span ended: the numbers of `parade.v1.SpanStatus`, which are OpenTelemetry's."""

    UNSET = 0
    OK = 1
    ERROR = 2


class MetricKind(StrEnum):
    """What a metric's points say."""

    GAUGE = "gauge"
    """The value at a time."""
    SUM = "sum"
    """What has added up."""
    HISTOGRAM = "histogram"
    """How many values fell into which bucket."""
    EXPONENTIAL_HISTOGRAM = "exponential_histogram"
    """The same, with buckets that grow by a factor."""


class Temporality(IntEnum):
    """Since when a sum or histogram counts: the numbers of OpenTelemetry."""

    UNSPECIFIED = 0
    DELTA = 1
    """Since the point before."""
    CUMULATIVE = 2
    """Since `Point.start_time`."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who observed something."""

    namespace: str
    """The namespace that the sender's certificate proves; for a service that which the record itself is said to be of, empty for none."""
    service: str
    """The service or agent."""
    instance_id: str
    """Which copy of it."""

    @property
    def size(self) -> int:
        """The bytes that it takes in each of its records, roughly."""
        return _size(self.service, self.instance_id)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log record."""

    time: int
    severity: Severity
    source: Source
    event: str
    fields: str
    trace_id: str
    """Hexadecimal; empty where none."""
    span_id: str
    """Hexadecimal; empty where none."""
    run_id: str
    """The run that it tells of, from its field of that name; empty where none."""

    @property
    def size(self) -> int:
        """The bytes that it takes, roughly."""
        return _OVERHEAD_BYTES + self.source.size + _size(self.event, self.fields)


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work in a trace."""

    trace_id: str
    span_id: str
    parent_span_id: str
    """Empty for the first."""
    source: Source
    name: str
    start_time: int
    end_time: int
    status: SpanStatus
    status_message: str
    attributes: str

    @property
    def size(self) -> int:
        """The bytes that it takes, roughly."""
        return _OVERHEAD_BYTES + self.source.size + _size(self.name, self.status_message, self.attributes)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a metric's time series."""

    time: int
    start_time: int
    """Since when it counts; 0 where that was not said."""
    source: Source
    name: str
    unit: str
    kind: MetricKind
    temporality: Temporality
    attributes: str
    value: float | None = None
    """For gauges and sums."""
    count: int | None = None
    """For histograms, as what follows."""
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    buckets: str | None = None
    """A JSON object: `bounds` and `counts`, or the fields of OpenTelemetry's exponential histogram."""

    @property
    def size(self) -> int:
        """The bytes that it takes, roughly."""
        return _OVERHEAD_BYTES + self.source.size + _size(self.name, self.attributes, self.buckets or "")


Record = LogRecord | Span | Point


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log records are meant: those of a namespace, narrowed by what is given."""

    namespace: str
    """Whose records; `EVERYWHERE` for those of all namespaces, and of none."""
    service: str = ""
    instance_id: str = ""
    severity: Severity = Severity.DEBUG
    """At least this grave."""
    trace_id: str = ""
    run_id: str = ""
    contains: str = ""
    """A text within the event; capital and small letters differ."""
    start_time: int | None = None
    """At or after."""
    end_time: int | None = None
    """Before."""

    def matches(self, record: LogRecord) -> bool:
        """Whether the record is meant."""
        return (
            self.namespace in (EVERYWHERE, record.source.namespace)
            and self.service in ("", record.source.service)
            and self.instance_id in ("", record.source.instance_id)
            and record.severity >= self.severity
            and self.trace_id in ("", record.trace_id)
            and self.run_id in ("", record.run_id)
            and self.contains in record.event
            and (self.start_time is None or record.time >= self.start_time)
            and (self.end_time is None or record.time < self.end_time)
        )


@dataclass(frozen=True, slots=True)
class Position:
    """A log record's place in the order of all: by time, then by arrival."""

    time: int
    id: int


@dataclass(frozen=True, slots=True)
class LogPage:
    """Log records, newest first."""

    records: tuple[LogRecord, ...]
    next: Position | None
    """The last record's place where there are more; None at the end."""


def _size(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)
