"""Requests and answers, and what is wrong with them."""

import math
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from parade.v1 import call_pb2, dispatcher_pb2, session_pb2, value_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_chassis.context import RequestContext
from parade_dispatcher import convert, model

CALLER = Identity.client("dev")
DIGEST = "sha256:" + "0" * 64
CONTEXT = RequestContext("/parade.v1.DispatcherService/Call", CALLER, CALLER.namespace, CALLER.uri)


def decoded(message: dispatcher_pb2.CallRequest, time_remaining: float | None = None) -> model.Request:
    return convert.request(message, CONTEXT, "default", time_remaining)


def test_a_request_without_arguments_has_none() -> None:
    request = decoded(dispatcher_pb2.CallRequest(function="analyst.describe"))

    assert (request.agent, request.function, request.arguments, request.timeout) == ("analyst", "describe", b"{}", None)


@pytest.mark.parametrize(
    ("mode", "waits"), [("APPROVAL_MODE_UNSPECIFIED", True), ("APPROVAL_MODE_WAIT", True), ("APPROVAL_MODE_FAIL", False)]
)
def test_a_call_waits_for_its_approval_unless_its_caller_says_otherwise(mode: Any, waits: bool) -> None:  # noqa: FBT001
    request = decoded(dispatcher_pb2.CallRequest(function="analyst.describe", options=call_pb2.CallOptions(approval=mode)))

    assert request.approval_wait is waits


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
    assert fields == ["function", "timeout", "step.step", "arguments", "arguments.media_type"]
    assert "is 4.0 MiB; at most 4 MiB can be sent" in str(raised.value)


@pytest.mark.parametrize(("time_remaining", "expected"), [(None, 1.5), (10.0, 1.5), (0.5, 0.5)])
def test_the_shorter_of_both_limits_holds(time_remaining: float | None, expected: float) -> None:
    message = dispatcher_pb2.CallRequest(function="analyst.describe", timeout=Duration(seconds=1, nanos=500_000_000))

    assert decoded(message, time_remaining).timeout == expected


def test_a_result_of_another_media_type_is_the_agents_error() -> None:
    with pytest.raises(ParadeError, match="only application/json") as raised:
        convert.returned(value_pb2.Value(data=b"{}", media_type="text/csv"), "result")

    assert raised.value.reason is Reason.AGENT_ERROR


def test_a_value_that_is_an_artifact_stays_one() -> None:
    reference = value_pb2.ArtifactReference(digest=DIGEST, size=2**30, media_type="application/json")

    content = convert.returned(value_pb2.Value(artifact=reference), "result")

    assert content == model.Artifact(DIGEST, 2**30, "application/json")
    assert convert.value(content) == value_pb2.Value(artifact=reference)


def test_a_result_that_names_no_artifact_is_the_agents_error() -> None:
    with pytest.raises(ParadeError, match="names no artifact") as raised:
        convert.returned(value_pb2.Value(artifact=value_pb2.ArtifactReference(digest="sha1:0")), "result")

    assert raised.value.reason is Reason.AGENT_ERROR


def in_session(caller: Identity = CALLER, **fields: Any) -> model.Request:
    context = RequestContext("/parade.v1.DispatcherService/Session", caller, caller.namespace, caller.uri)
    return convert.session_request(session_pb2.SessionCall(function="analyst.describe", **fields), context, "")


def test_a_call_in_a_session_says_all_there_is_to_say() -> None:
    request = in_session(
        arguments=value_pb2.Value(data=b"{}"),
        timeout=1.5,
        window=1000,
        options=call_pb2.CallOptions(
            idempotency_key="k", priority=-3, affinity_key="a", labels={"zone": "b"}, parent_call_id="p", call_id="c" * 8, redelivered=True
        ),
    )

    assert (request.agent, request.function, request.timeout, request.window) == ("analyst", "describe", 1.5, 1000)
    assert (request.idempotency_key, request.priority, request.affinity_key, request.labels) == ("k", -3, "a", {"zone": "b"})
    assert (request.parent_call_id, request.call_id, request.redelivered) == ("p", "c" * 8, True)
    assert (request.namespace, request.principal, request.step) == ("default", CALLER.uri, None)


def test_a_call_says_what_may_come_of_it_and_by_which_mandate_it_is_made() -> None:
    request = in_session(options=call_pb2.CallOptions(functions=["a.b", "c.*", "*"], mandate=b"m"))

    assert (request.functions, request.mandate) == (("a.b", "c.*", "*"), b"m")


def test_what_names_no_functions_is_refused() -> None:
    with pytest.raises(ParadeError) as raised:
        in_session(options=call_pb2.CallOptions(functions=["a.b", "a", "*.b"]))
    with pytest.raises(ParadeError, match="at most 32"):
        in_session(options=call_pb2.CallOptions(functions=["a.b"] * 33))

    assert [violation.field for violation in raised.value.violations] == ["options.functions"] * 2


def test_a_call_in_a_session_may_say_next_to_nothing() -> None:
    request = in_session()

    assert (request.arguments, request.timeout, request.window, request.call_id) == (b"{}", None, 0, "")


@pytest.mark.parametrize("caller", [Identity.client("dev"), Identity.agent("writer", "i0")])
def test_nobody_says_whom_a_call_is_for_but_gateways_and_schedulers(caller: Identity) -> None:
    with pytest.raises(ParadeError) as raised:
        in_session(caller, origin=call_pb2.CallOrigin(namespace="other"))

    assert raised.value.reason is Reason.PERMISSION_DENIED


def test_a_scheduler_says_whom_a_call_is_for() -> None:
    origin = call_pb2.CallOrigin(namespace="other", principal=CALLER.uri, run_id="run-1", step="clean")

    request = in_session(Identity.service("scheduler"), origin=origin, step_redelivered=True)

    assert (request.namespace, request.principal, request.step) == ("other", CALLER.uri, model.Step("run-1", "clean", redelivered=True))


def test_a_service_must_say_in_which_namespace_it_calls() -> None:
    with pytest.raises(ParadeError) as raised:
        in_session(Identity.service("gateway"))

    assert [violation.field for violation in raised.value.violations] == ["origin.namespace"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"window": 2**40}, "window"),
        ({"options": call_pb2.CallOptions(call_id="short")}, "options.call_id"),
        ({"options": call_pb2.CallOptions(call_id="not a name")}, "options.call_id"),
        ({"options": call_pb2.CallOptions(priority=101)}, "options.priority"),
        ({"options": call_pb2.CallOptions(secrets=["k3y"] * 65)}, "options.secrets"),
        ({"options": call_pb2.CallOptions(secrets=["x" * 32_768, "y" * 32_769])}, "options.secrets"),
        ({"options": call_pb2.CallOptions(idempotency_key="k" * 256)}, "options.idempotency_key"),
        ({"options": call_pb2.CallOptions(labels={str(number): "" for number in range(65)})}, "options.labels"),
        ({"arguments": value_pb2.Value(artifact=value_pb2.ArtifactReference(digest="sha256:0"))}, "artifact.digest"),
    ],
)
def test_what_is_wrong_with_a_call_in_a_session_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ParadeError) as raised:
        in_session(**fields)

    assert [violation.field for violation in raised.value.violations] == [field]


def test_names_are_remembered_up_to_a_bound() -> None:
    names = convert.Names(2)

    assert [names(f"a.f{number}") for number in range(5)] == [("a", f"f{number}") for number in range(5)]
    assert names("a") is None
    assert len(names._known) <= 2
