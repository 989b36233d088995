from google.protobuf.message import Message

from parade.v1 import monitor_pb2, scheduler_pb2
from parade.wire.errors import Violation
from parade_gateway.query import document, parameters
from parade_gateway.transcode import decode


def read(message: Message, *pairs: tuple[str, str]) -> list[Violation]:
    faults: list[Violation] = []
    decode(document(pairs, parameters(message.DESCRIPTOR), faults), message)
    return faults


def test_every_kind_of_field_can_stand_in_a_query() -> None:
    request = scheduler_pb2.ListRunsRequest()

    faults = read(
        request,
        ("workflow", "sales"),
        ("states", "RUN_STATE_RUNNING"),
        ("states", "failed"),
        ("labels", "team=a,b"),
        ("start_time", "2026-01-31T09:30:00 01:00"),
        ("pageSize", "7"),
    )

    expected = scheduler_pb2.ListRunsRequest(
        workflow="sales",
        states=[scheduler_pb2.RUN_STATE_RUNNING, scheduler_pb2.RUN_STATE_FAILED],
        labels=["team=a,b"],
        page_size=7,
    )
    expected.start_time.FromJsonString("2026-01-31T08:30:00Z")
    assert not faults
    assert request == expected


def test_the_fields_of_a_message_have_dotted_names() -> None:
    request = monitor_pb2.QueryLogsRequest()

    faults = read(request, ("filter.service", "scheduler"), ("filter.instanceId", "i"), ("filter.severity", "warning"))

    assert not faults
    assert request.filter == monitor_pb2.LogFilter(service="scheduler", instance_id="i", severity=monitor_pb2.SEVERITY_WARNING)


def test_a_duration_and_a_truth_value_are_read_from_text() -> None:
    wait, put = scheduler_pb2.WaitRunRequest(), scheduler_pb2.PutWorkflowRequest()

    assert not read(wait, ("timeout", "1.5s"))
    assert not read(put, ("allow_unregistered", "true"))

    assert wait.timeout.ToMilliseconds() == 1500
    assert put.allow_unregistered


def test_an_unknown_parameter_is_refused_with_what_was_probably_meant() -> None:
    faults = read(monitor_pb2.QueryLogsRequest(), ("filter.servce", "x"))

    assert [str(fault) for fault in faults] == ["filter.servce: there is no such parameter. Did you mean filter.service?"]


def test_a_parameter_given_twice_is_refused() -> None:
    faults = read(scheduler_pb2.ListRunsRequest(), ("page_size", "1"), ("pageSize", "2"))

    assert [str(fault) for fault in faults] == ["pageSize: is given more than once"]


def test_fields_that_stand_in_the_path_are_no_parameters() -> None:
    assert set(parameters(scheduler_pb2.WatchRunRequest.DESCRIPTOR, ["run_id"])) == {"after_sequence"}
