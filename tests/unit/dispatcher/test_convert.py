"""Requests that are wrong, and words of a newer contract."""

import pytest
from google.protobuf.duration_pb2 import Duration

from parade.v1 import agent_manager_pb2, agent_pb2, dispatcher_pb2, function_pb2, value_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_chassis.context import RequestContext
from parade_dispatcher import convert, model

CALLER = Identity.client("dev")
CONTEXT = RequestContext("/parade.v1.DispatcherService/Call", CALLER, CALLER.namespace, CALLER.uri)


def decoded(message: dispatcher_pb2.CallRequest, time_remaining: float | None = None) -> model.Request:
    return convert.request(message, CONTEXT, "default", time_remaining)


def test_a_request_without_arguments_has_none() -> None:
    request = decoded(dispatcher_pb2.CallRequest(function="analyst.describe"))

    assert (request.agent, request.function, request.arguments, request.timeout) == ("analyst", "describe", b"{}", None)


@pytest.mark.parametrize("name", ["", "analyst", "analyst.", ".describe", "Analyst.describe", "analyst.describe.more", "analyst.1"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(ParadeError) as raised:
        decoded(dispatcher_pb2.CallRequest(function=name))

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert [violation.field for violation in raised.value.violations] == ["function"]


def test_every_bad_field_is_named_at_once() -> None:
    message = dispatcher_pb2.CallRequest(
        function="analyst",
        arguments=value_pb2.Value(data=b"x" * (MAX_VALUE_BYTES + 1), media_type="text/csv"),
        timeout=Duration(seconds=-1),
        step=dispatcher_pb2.StepReference(run_id="run-1"),
    )

    with pytest.raises(ParadeError) as raised:
        decoded(message)

    fields = [violation.field for violation in raised.value.violations]
    assert fields == ["function", "arguments.media_type", "arguments", "timeout", "step.step"]
    assert "is 4.0 MiB; at most 4 MiB can be sent" in str(raised.value)


@pytest.mark.parametrize(("time_remaining", "expected"), [(None, 1.5), (10.0, 1.5), (0.5, 0.5)])
def test_the_shorter_of_both_limits_holds(time_remaining: float | None, expected: float) -> None:
    message = dispatcher_pb2.CallRequest(function="analyst.describe", timeout=Duration(seconds=1, nanos=500_000_000))

    assert decoded(message, time_remaining).timeout == expected


def test_what_an_instance_leaves_open_is_read_with_care() -> None:
    message = agent_manager_pb2.WatchAgentsResponse(
        instance=agent_manager_pb2.Instance(id="i", functions=[function_pb2.Function(name="send")], state=99)  # type: ignore[arg-type]
    )

    instance = convert.change(message)

    assert isinstance(instance, model.Instance)
    assert instance.state is model.InstanceState.JOINING
    assert instance.max_concurrency == 1
    assert instance.functions["send"].effect is model.Effect.EFFECT
    assert instance.functions["send"].timeout == 60


def test_news_of_an_unknown_kind_is_passed_over() -> None:
    assert convert.change(agent_manager_pb2.WatchAgentsResponse()) is None


def test_an_event_without_content_is_the_agents_error() -> None:
    with pytest.raises(ParadeError) as raised:
        convert.said(agent_pb2.InvokeStreamResponse())

    assert raised.value.reason is Reason.AGENT_ERROR


def test_a_result_of_another_media_type_is_the_agents_error() -> None:
    with pytest.raises(ParadeError, match="only application/json") as raised:
        convert.result(agent_pb2.InvokeResponse(result=value_pb2.Value(data=b"{}", media_type="text/csv")))

    assert raised.value.reason is Reason.AGENT_ERROR
