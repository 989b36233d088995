import json
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from parade.v1 import call_pb2, dispatcher_pb2, session_pb2, value_pb2
from parade.wire.errors import Violation
from parade_gateway.call_json import arguments_of, cut, read, response, seconds
from parade_gateway.transcode import encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)


@given(
    JSON,
    st.dictionaries(st.sampled_from(["timeout", "options", "é"]), JSON),
    st.booleans(),
    st.sampled_from([None, 2]),
    st.integers(0, 3),
)
def test_a_body_is_cut_in_two_wherever_its_arguments_stand(
    arguments: Any,
    rest: dict[str, Any],
    ensure_ascii: bool,  # noqa: FBT001
    indent: int | None,
    place: int,
) -> None:
    members = list(rest.items())
    members.insert(place, ("arguments", arguments))

    parts = cut(json.dumps(dict(members), ensure_ascii=ensure_ascii, indent=indent).encode())

    assert parts is not None
    assert parts[0] is not None
    assert json.loads(parts[0]) == arguments
    assert parts[1] == rest


@pytest.mark.parametrize("body", [b"{}", b' {"timeout":"1s"} ', b'\n{ "a" : [ "arguments", {"arguments": 1} ] }\n'])
def test_a_body_may_have_no_arguments(body: bytes) -> None:
    assert cut(body) == (None, json.loads(body))


def test_arguments_stay_as_they_came() -> None:
    assert cut(b'{"arguments" : {"a" : 1.50, "a": 100000000000000000000} }') == (b'{"a" : 1.50, "a": 100000000000000000000}', {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"arguments":',
        b'{"arguments":1',
        b'{"arguments":1}}',
        b'{"arguments":1,}',
        b'{"arguments":1 "a":2}',
        b'{,"arguments":1}',
        b"{1:2}",
        b'{"arguments":1,"arguments":2}',
        b'{"arguments":1,"\\u0061rguments":2}',
        b'{"a":1,"a":2}',
        b'{"arguments":NaN}',
        b'{"arguments":1e999}',
        b'{"arguments":"\\ud800"}',
        b'{"arguments":"\xff"}',
        b'{"arguments":' + b"[" * 100_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_as_it_should_be_is_left_to_the_careful_reader(body: bytes) -> None:
    assert cut(body) is None


def test_what_a_call_says_beside_its_arguments_is_read_as_its_message_is() -> None:
    faults: list[Violation] = []

    request = read({"timeout": "2s", "options": {"priority": 5}, "function": "a.b"}, "a.b", faults)

    assert faults == []
    assert request == dispatcher_pb2.CallRequest(timeout=Duration(seconds=2), options=call_pb2.CallOptions(priority=5))


def test_faults_are_named_with_the_place_of_their_call() -> None:
    faults: list[Violation] = []

    arguments_of({"arguments": "\ud800"}, faults, "calls[3].")
    read({"tiemout": "2s", "function": "a.c"}, "a.b", faults, "calls[3].")

    assert [fault.field for fault in faults] == ["calls[3].arguments", "calls[3].function", "calls[3].tiemout"]


@given(st.integers(0, 2**40))
def test_durations_are_written_as_protobuf_writes_them(microseconds: int) -> None:
    duration = Duration()
    duration.FromMicroseconds(microseconds)

    assert MessageToDict(call_pb2.Timing(queued=duration)) == {"queued": seconds(microseconds).decode()}


@given(st.text(), st.none() | JSON, st.integers(0, 2**40))
def test_what_came_of_a_call_is_written_as_its_message_is(text: str, result: Any, microseconds: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    value = json.dumps(result).encode() if result is not None else None
    message = dispatcher_pb2.CallResponse(call_id=text, instance_id=text)
    if value is not None:
        message.result.CopyFrom(value_pb2.Value(data=value))
    message.timing.queued.FromMicroseconds(microseconds)
    message.timing.transport.FromMicroseconds(microseconds)
    message.timing.executing.FromMicroseconds(microseconds)
    call = session_pb2.SessionCall(options=call_pb2.CallOptions(call_id=text))
    came = session_pb2.SessionResult(instance_id=text, queued_us=microseconds, transport_us=microseconds, executing_us=microseconds)

    assert response(call, came, value) == encode(message)
