import pytest
from google.protobuf.duration_pb2 import Duration

from parade.v1 import agent_manager_pb2, dispatcher_pb2, scheduler_pb2
from parade.wire.errors import ParadeError
from parade_gateway.deadline import timeout


def test_a_plain_request_has_thirty_seconds() -> None:
    assert timeout({}, agent_manager_pb2.ListAgentsRequest(), streams=False) == 30


def test_a_request_waits_for_its_own_timeout_and_a_little() -> None:
    assert timeout({}, dispatcher_pb2.CallRequest(timeout=Duration(seconds=120)), streams=False) == 125


def test_a_request_that_could_say_and_does_not_waits_for_the_default_of_wait_run() -> None:
    assert timeout({}, scheduler_pb2.WaitRunRequest(), streams=False) == 65


def test_who_starts_a_run_has_the_time_that_it_waits_for_its_end() -> None:
    assert timeout({}, scheduler_pb2.StartRunRequest(wait=Duration(seconds=120)), streams=False) == 125
    assert timeout({}, scheduler_pb2.StartRunRequest(), streams=False) == 30


def test_a_stream_has_no_limit_of_its_own() -> None:
    assert timeout({}, scheduler_pb2.WatchRunRequest(), streams=True) is None
    assert timeout({}, dispatcher_pb2.CallStreamRequest(), streams=True) is None


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5), ("0.5s", 0.5), ("250ms", 0.25), ("7", 7)])
def test_the_header_stands_above_everything(text: str, seconds: float) -> None:
    request = dispatcher_pb2.CallRequest(timeout=Duration(seconds=120))

    assert timeout({"x-request-timeout": text}, request, streams=False) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0s", "-1s", "1h", "3601s", "nan"])
def test_a_header_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ParadeError) as caught:
        timeout({"x-request-timeout": text}, scheduler_pb2.WatchRunRequest(), streams=True)

    assert caught.value.violations[0].field == "x-request-timeout"
