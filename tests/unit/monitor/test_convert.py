from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import monitor_pb2
from parade.wire.errors import ParadeError, Reason
from parade_monitor import convert, page
from parade_monitor.model import LogFilter, LogPage, Position, Severity
from tests.unit.monitor.records import SCHEDULER, SECOND, START, TRACE, log, span


def faults(request: Any, read: Any = convert.to_log_question) -> dict[str, str]:
    with pytest.raises(ParadeError) as raised:
        read(request, "default")
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    return {violation.field: violation.description for violation in raised.value.violations}


def test_an_empty_question_means_the_newest_hundred() -> None:
    question = convert.to_log_question(monitor_pb2.QueryLogsRequest(), "default")

    assert question == convert.LogQuestion(LogFilter("default"), 100, None)


def test_a_filter_is_read_whole() -> None:
    given = monitor_pb2.LogFilter(
        service="scheduler",
        instance_id="s-1",
        severity=monitor_pb2.SEVERITY_WARNING,
        trace_id=TRACE.upper(),
        run_id="run-1",
        contains="lost",
        start_time=Timestamp(seconds=1, nanos=5),
        end_time=Timestamp(seconds=2),
    )

    question = convert.to_tail_question(monitor_pb2.TailLogsRequest(filter=given, last=7), "team")

    wanted = LogFilter("team", "scheduler", "s-1", Severity.WARNING, TRACE, "run-1", "lost", SECOND + 5, 2 * SECOND)
    assert question == convert.TailQuestion(wanted, 7)


def test_every_fault_of_a_question_is_named() -> None:
    given = monitor_pb2.LogFilter(
        service="a\x00b",
        trace_id="xyz",
        contains="x" * 1025,
        start_time=Timestamp(seconds=1, nanos=-1),
    )
    given.severity = 9  # type: ignore[assignment]

    found = faults(monitor_pb2.QueryLogsRequest(filter=given, page_size=1001))

    assert set(found) == {"filter.service", "filter.trace_id", "filter.contains", "filter.start_time", "filter.severity", "page_size"}


def test_an_end_before_the_start_is_refused() -> None:
    given = monitor_pb2.LogFilter(start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=1))

    assert "filter.end_time" in faults(monitor_pb2.QueryLogsRequest(filter=given))


def test_times_outside_of_what_can_be_stored_are_taken_as_the_ends_of_time() -> None:
    given = monitor_pb2.LogFilter(start_time=Timestamp(seconds=-5), end_time=Timestamp(seconds=253_402_300_799))

    wanted = convert.to_log_question(monitor_pb2.QueryLogsRequest(filter=given), "default").wanted

    assert (wanted.start_time, wanted.end_time) == (0, 2**63 - 1)


def test_a_token_of_another_filter_is_refused() -> None:
    token = page.to_token(Position(1, 2), LogFilter("default", service="gateway"))

    assert set(faults(monitor_pb2.QueryLogsRequest(page_token=token))) == {"page_token"}


def test_a_negative_last_is_refused() -> None:
    assert set(faults(monitor_pb2.TailLogsRequest(last=-1), convert.to_tail_question)) == {"last"}


@pytest.mark.parametrize("text", ["", "0", TRACE[:-1], TRACE + "0", TRACE[:-1] + "g", TRACE[:-1] + "\n"])
def test_a_malformed_trace_id_is_refused(text: str) -> None:
    assert set(faults(monitor_pb2.GetTraceRequest(trace_id=text), lambda request, _: convert.to_trace_id(request))) == {"trace_id"}


def test_a_page_is_written_with_a_token_for_the_next() -> None:
    wanted = LogFilter("default")
    record = log(source=SCHEDULER, severity=Severity.ERROR, time=START + 5, trace_id=TRACE, span_id="b7ad6b7169203331")

    written = convert.from_page(LogPage((record,), Position(START + 5, 3)), wanted)

    assert page.from_token(written.next_page_token, wanted) == Position(START + 5, 3)
    (shown,) = written.records
    assert shown.time.ToNanoseconds() == START + 5
    assert (shown.service, shown.instance_id, shown.severity) == ("scheduler", "s-1", monitor_pb2.SEVERITY_ERROR)
    assert (shown.event, shown.fields.data, shown.trace_id) == ("table read", b'{"rows":3}', TRACE)


def test_a_span_is_written_whole() -> None:
    shown = convert.from_span(span(parent_span_id="01" * 8, status_message="well"))

    assert (shown.name, shown.parent_span_id, shown.status, shown.status_message) == (
        "describe",
        "01" * 8,
        monitor_pb2.SPAN_STATUS_OK,
        "well",
    )
    assert shown.end_time.ToNanoseconds() - shown.start_time.ToNanoseconds() == SECOND
    assert shown.attributes.data == b"{}"
