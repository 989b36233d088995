"""Questions and answers of `parade.v1`: pure; a bad question becomes one error that names every fault."""

import re
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import monitor_pb2, value_pb2
from parade.wire.errors import Violation, invalid
from parade_monitor import page
from parade_monitor.model import LogFilter, LogPage, LogRecord, Position, Severity, Span

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_FILTER_TEXT = 1024
"""Characters of a text in a filter."""

_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")
_LATEST = 2**63 - 1
_SEVERITIES = {severity.value: severity for severity in Severity}


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """A page of log records that somebody asks for."""

    wanted: LogFilter
    size: int
    before: Position | None


@dataclass(frozen=True, slots=True)
class TailQuestion:
    """Log records that somebody asks for as they arrive."""

    wanted: LogFilter
    last: int


def to_log_question(request: monitor_pb2.QueryLogsRequest, namespace: str) -> LogQuestion:
    """Reads a question for log records.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    faults: list[Violation] = []
    wanted = _filter(request.filter, namespace, faults)
    size = _count("page_size", request.page_size, faults) or DEFAULT_PAGE_SIZE
    before = page.from_token(request.page_token, wanted) if request.page_token else None
    if request.page_token and before is None and not faults:
        faults.append(Violation("page_token", "is not a token that was given for this filter; ask without one"))
    _refuse(faults)
    return LogQuestion(wanted, size, before)


def to_tail_question(request: monitor_pb2.TailLogsRequest, namespace: str) -> TailQuestion:
    """Reads a question for log records as they arrive.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    faults: list[Violation] = []
    wanted = _filter(request.filter, namespace, faults)
    last = _count("last", request.last, faults)
    _refuse(faults)
    return TailQuestion(wanted, last)


def to_trace_id(request: monitor_pb2.GetTraceRequest) -> str:
    """Reads the id of a trace.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    faults: list[Violation] = []
    trace_id = _trace_id("trace_id", request.trace_id, faults)
    _refuse(faults)
    return trace_id


def from_page(found: LogPage, wanted: LogFilter) -> monitor_pb2.QueryLogsResponse:
    """Writes a page of log records."""
    return monitor_pb2.QueryLogsResponse(
        records=[from_log(record) for record in found.records],
        next_page_token=page.to_token(found.next, wanted) if found.next else "",
    )


def from_log(record: LogRecord) -> monitor_pb2.LogRecord:
    """Writes a log record."""
    return monitor_pb2.LogRecord(
        time=_timestamp(record.time),
        severity=monitor_pb2.Severity.ValueType(record.severity),
        service=record.source.service,
        instance_id=record.source.instance_id,
        event=record.event,
        fields=value_pb2.Value(data=record.fields.encode()),
        trace_id=record.trace_id,
        span_id=record.span_id,
    )


def from_span(span: Span) -> monitor_pb2.Span:
    """Writes a span."""
    return monitor_pb2.Span(
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=span.name,
        service=span.source.service,
        instance_id=span.source.instance_id,
        start_time=_timestamp(span.start_time),
        end_time=_timestamp(span.end_time),
        status=monitor_pb2.SpanStatus.ValueType(span.status),
        status_message=span.status_message,
        attributes=value_pb2.Value(data=span.attributes.encode()),
    )


def _filter(given: monitor_pb2.LogFilter, namespace: str, faults: list[Violation]) -> LogFilter:
    for field in ("service", "instance_id", "run_id", "contains"):
        text = getattr(given, field)
        if len(text) > MAX_FILTER_TEXT or "\x00" in text:
            faults.append(Violation(f"filter.{field}", f"must have at most {MAX_FILTER_TEXT} characters, none of them NUL"))
    if given.severity not in monitor_pb2.Severity.values():
        faults.append(Violation("filter.severity", f"{given.severity} is no severity"))
    start = _time("filter.start_time", given.start_time, faults) if given.HasField("start_time") else None
    end = _time("filter.end_time", given.end_time, faults) if given.HasField("end_time") else None
    if start is not None and end is not None and end < start:
        faults.append(Violation("filter.end_time", "must not be before start_time"))
    return LogFilter(
        namespace=namespace,
        service=given.service,
        instance_id=given.instance_id,
        severity=_SEVERITIES.get(given.severity, Severity.DEBUG),
        trace_id=_trace_id("filter.trace_id", given.trace_id, faults) if given.trace_id else "",
        run_id=given.run_id,
        contains=given.contains,
        start_time=start,
        end_time=end,
    )


def _trace_id(field: str, text: str, faults: list[Violation]) -> str:
    if not _TRACE_ID.fullmatch(text):
        faults.append(Violation(field, "must be 32 hexadecimal digits"))
    return text.lower()


def _count(field: str, number: int, faults: list[Violation]) -> int:
    if not 0 <= number <= MAX_PAGE_SIZE:
        faults.append(Violation(field, f"must be 0 to {MAX_PAGE_SIZE}"))
    return number


def _time(field: str, given: Timestamp, faults: list[Violation]) -> int:
    try:
        nanoseconds = given.ToNanoseconds()
    except ValueError:
        faults.append(Violation(field, "is no time"))
        return 0
    return min(max(nanoseconds, 0), _LATEST)


def _timestamp(nanoseconds: int) -> Timestamp:
    seconds, rest = divmod(nanoseconds, 10**9)
    return Timestamp(seconds=seconds, nanos=rest)


def _refuse(faults: list[Violation]) -> None:
    if faults:
        raise invalid(faults)
