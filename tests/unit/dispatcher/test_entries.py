"""Calls and results put together as bytes are the messages of the contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.v1 import call_pb2, session_pb2, value_pb2
from parade_dispatcher import entries, model

ARTIFACT = model.Artifact("sha256:" + "a" * 64, 5, "text/csv")
REFERENCE = value_pb2.Value(artifact=value_pb2.ArtifactReference(digest=ARTIFACT.digest, size=5, media_type="text/csv"))
CONTENTS = st.one_of(st.binary(min_size=1, max_size=300), st.sampled_from([b"x" * 126, b"x" * 127, b"x" * 20_000, b"x" * 200_000]))


def sent(call: model.Call) -> session_pb2.SessionCall:
    """Returns the message that leaves for a call, but for its window."""
    return session_pb2.SessionCall.FromString(entries.call_entry(entries.call_head("a.f", call, b"m"), call))


def answered(answer: model.Answer, *, names_call: bool = False) -> session_pb2.SessionResult:
    """Returns the message that leaves for an answer."""
    return session_pb2.SessionResult.FromString(entries.result_entry(answer, names_call=names_call))


@given(CONTENTS, st.text(st.sampled_from("ab-_9"), min_size=8, max_size=200))
def test_a_call_says_what_is_to_be_run_and_for_whom(arguments: bytes, call_id: str) -> None:
    call = model.Call(call_id, "f", arguments, "default", "spiffe://x")

    assert sent(call) == session_pb2.SessionCall(
        function="a.f",
        arguments=value_pb2.Value(data=arguments),
        options=call_pb2.CallOptions(call_id=call_id),
        origin=call_pb2.CallOrigin(namespace="default", principal="spiffe://x", mandate=b"m"),
    )


@pytest.mark.parametrize("arguments", [b"{}", ARTIFACT])
@pytest.mark.parametrize("run_id", ["run-1", "r" * 127, "r" * 200])
def test_a_steps_call_says_more(arguments: model.Content, run_id: str) -> None:
    call = model.Call("call-1", "f", arguments, "n", "p", run_id, "clean", 7, "00-a-b-01", attach=True)

    assert sent(call) == session_pb2.SessionCall(
        function="a.f",
        arguments=value_pb2.Value(data=arguments) if isinstance(arguments, bytes) else REFERENCE,
        options=call_pb2.CallOptions(call_id="call-1"),
        origin=call_pb2.CallOrigin(namespace="n", principal="p", run_id=run_id, step="clean", mandate=b"m"),
        traceparent="00-a-b-01",
        attach=True,
    )


@given(CONTENTS, st.floats(0, 5000), st.floats(0, 5000), st.floats(0, 5000))
def test_a_result_holds_its_value_and_its_timing(result: bytes, queued: float, transport: float, executing: float) -> None:
    message = answered(model.Answer(result, "call-1", "i0", model.Timing(queued, transport, executing)))

    assert message == session_pb2.SessionResult(
        result=value_pb2.Value(data=result),
        instance_id="i0",
        queued_us=int(queued * 1e6),
        transport_us=int(transport * 1e6),
        executing_us=int(executing * 1e6),
    )


def test_an_artifact_is_returned_by_its_name() -> None:
    assert answered(model.Answer(ARTIFACT, "call-1", "i0")).result == REFERENCE


def test_an_answer_names_the_call_where_its_caller_did_not() -> None:
    answer = model.Answer(b"1", "call-1", "i0")

    assert answered(answer).call_id == ""
    assert answered(answer, names_call=True).call_id == "call-1"


def test_which_instance_has_a_call_is_an_event() -> None:
    assert session_pb2.SessionEvent.FromString(entries.assigned_entry("i-1")) == session_pb2.SessionEvent(instance_id="i-1")


def test_a_stream_that_ended_well_has_neither_result_nor_error() -> None:
    message = answered(model.Answer(None, "call-1", "i0"))

    assert not message.HasField("result")
    assert not message.HasField("error")


@given(CONTENTS, st.lists(st.text(st.characters(codec="utf-8"), max_size=200), min_size=1, max_size=5))
def test_an_instance_is_told_what_it_is_to_quote_nowhere(arguments: bytes, secrets: list[str]) -> None:
    call = model.Call("call-1", "f", arguments, "n", "p", secrets=tuple(secrets))

    assert sent(call).options == call_pb2.CallOptions(call_id="call-1", secrets=secrets)
