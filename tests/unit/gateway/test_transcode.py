import json
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from parade.v1 import agent_manager_pb2, dispatcher_pb2, function_pb2, monitor_pb2, scheduler_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason
from parade_gateway.routes import Routes, message_class, public_services
from parade_gateway.transcode import decode, encode, map_value, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = sorted(
    {kind.full_name: kind for route in Routes(public_services()) for kind in (route.method.input_type, route.method.output_type)}.items()
)


def compact(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        FieldDescriptor.TYPE_STRING: TEXT,
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    }[field.type]


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Any:
    message: Any = message_class(descriptor)()
    match descriptor.full_name:
        case "parade.v1.Value":
            message.data = compact(draw(JSON))
        case "google.protobuf.Timestamp":
            message.FromSeconds(draw(st.integers(-62135596800, 253402300799)))
            message.nanos = draw(st.sampled_from([0, 1, 500_000_000]))
        case "google.protobuf.Duration":
            message.FromNanoseconds(draw(st.integers(-(10**18), 10**18)))
        case _:
            fill(draw, message, descriptor)
    return message


def fill(draw: st.DrawFn, message: Any, descriptor: Descriptor) -> None:
    given_oneofs = set()
    for field in descriptor.fields:
        if not draw(st.booleans()):
            continue
        if field.containing_oneof is not None:
            if field.containing_oneof.name in given_oneofs:
                continue
            given_oneofs.add(field.containing_oneof.name)
        value = map_value(field)
        if value is not None:
            getattr(message, field.name).update(draw(st.dictionaries(TEXT, scalars(value), max_size=3)))
        elif field.message_type is not None and field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(messages(field.message_type), max_size=2)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(messages(field.message_type)))
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalars(field)))


def faults_of(document: Any, message: Message) -> dict[str, str]:
    with pytest.raises(ParadeError) as caught:
        decode(document, message)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    return {violation.field: violation.description for violation in caught.value.violations}


@given(st.data())
def test_what_is_written_is_read_as_the_same_message(data: st.DataObject) -> None:
    _, descriptor = data.draw(st.sampled_from(MESSAGES))
    original = data.draw(messages(descriptor))

    read = message_class(descriptor)()
    decode(parse(encode(original)), read)

    assert read == original


@given(JSON)
def test_a_value_stands_in_the_document_as_its_own_json(document: Any) -> None:
    request = dispatcher_pb2.CallRequest()

    decode(parse(compact({"arguments": document})), request)

    assert json.loads(request.arguments.data) == document
    assert json.loads(encode(request))["arguments"] == document


def test_whole_numbers_of_any_size_pass_unchanged() -> None:
    request = dispatcher_pb2.CallRequest()

    decode(parse(b'{"arguments": {"n": 123456789012345678901234567890}}'), request)

    assert request.arguments.data == b'{"n":123456789012345678901234567890}'
    assert b"123456789012345678901234567890" in encode(request)


def test_an_indented_value_is_written_on_one_line() -> None:
    response = dispatcher_pb2.CallResponse(result=value_pb2.Value(data=b'{\r\n  "a": "b\\nc"\n}'))

    written = encode(response)

    assert b"\n" not in written
    assert json.loads(written)["result"] == {"a": "b\nc"}


def test_a_value_that_is_not_json_keeps_its_envelope() -> None:
    response = dispatcher_pb2.CallResponse(result=value_pb2.Value(data=b"\x00\x01", media_type="application/octet-stream"))

    assert json.loads(encode(response))["result"] == {"data": "AAE=", "mediaType": "application/octet-stream"}


def test_a_value_that_claims_to_be_json_and_is_not_is_a_fault_of_the_mesh() -> None:
    with pytest.raises(ParadeError) as caught:
        encode(dispatcher_pb2.CallResponse(result=value_pb2.Value(data=b"{broken")))

    assert caught.value.reason is Reason.INTERNAL


def test_lists_without_entries_and_empty_fields_are_written() -> None:
    assert json.loads(encode(agent_manager_pb2.ListAgentsResponse())) == {"agents": [], "nextPageToken": ""}


def test_messages_that_are_not_there_are_not_written() -> None:
    assert json.loads(encode(scheduler_pb2.GetRunResponse())) == {}


def test_well_known_forms_are_written_as_protobuf_writes_them() -> None:
    run = scheduler_pb2.Run(state=scheduler_pb2.RUN_STATE_FAILED, last_sequence=2**60)
    run.create_time.FromJsonString("2026-01-31T09:30:00Z")

    written = json.loads(encode(run))

    assert written["state"] == "RUN_STATE_FAILED"
    assert written["lastSequence"] == str(2**60)
    assert written["createTime"] == "2026-01-31T09:30:00Z"


def test_fields_are_read_by_both_of_their_names() -> None:
    camel, snake = scheduler_pb2.StartRunRequest(), scheduler_pb2.StartRunRequest()

    decode({"requestId": "r"}, camel)
    decode({"request_id": "r"}, snake)

    assert camel == snake == scheduler_pb2.StartRunRequest(request_id="r")


def test_a_field_given_by_both_names_is_refused() -> None:
    assert faults_of({"requestId": "a", "request_id": "b"}, scheduler_pb2.StartRunRequest()) == {
        "request_id": "cannot be given together with requestId"
    }


def test_two_of_a_oneof_are_refused() -> None:
    faults = faults_of({"item": 1, "result": 2}, dispatcher_pb2.CallStreamResponse())

    assert faults == {"result": "cannot be given together with item"}


def test_an_unknown_field_is_refused_with_what_was_probably_meant() -> None:
    assert faults_of({"argument": {}}, dispatcher_pb2.CallRequest()) == {"argument": "there is no such field. Did you mean arguments?"}


def test_every_fault_is_named_at_its_place() -> None:
    document = {
        "name": 5,
        "effect": "EFFECT_PUR",
        "timeout": "5 minutes",
        "streaming": "yes",
        "resultSchema": {"any": "thing"},
        "wrong": None,
    }

    faults = faults_of(document, function_pb2.Function())

    assert faults == {
        "name": "must be text",
        "effect": "is none of its values. Did you mean EFFECT_PURE?",
        "timeout": 'must be a duration in seconds, as "5s" or "0.25s"',
        "streaming": "must be true or false",
        "wrong": "there is no such field. "
        "There are: arguments_schema, description, durable, effect, name, result_schema, retry, streaming, timeout.",
    }


def test_faults_inside_lists_and_messages_carry_their_path() -> None:
    document = {"filter": {"startTime": "yesterday", "severty": 1}, "page_size": 2**40}

    faults = faults_of(document, monitor_pb2.QueryLogsRequest())

    assert faults["filter.startTime"] == 'must be a time after RFC 3339, as "2026-01-31T09:30:00Z"'
    assert faults["filter.severty"] == "there is no such field. Did you mean severity?"
    assert faults["page_size"] == "must be a whole number of 32 bits"
    assert faults_of({"states": ["RUNNING", "NO"], "labels": "a"}, scheduler_pb2.ListRunsRequest()).keys() == {"states[1]", "labels"}


def test_faults_inside_maps_carry_their_key() -> None:
    assert faults_of({"labels": {"a": 1, "b": "two"}}, scheduler_pb2.StartRunRequest()) == {"labels.a": "must be text"}


@pytest.mark.parametrize("name", ["RUN_STATE_RUNNING", "RUNNING", "running"])
def test_an_enum_is_read_by_its_name_with_and_without_prefix(name: str) -> None:
    request = scheduler_pb2.ListRunsRequest()

    decode({"states": [name]}, request)

    assert list(request.states) == [scheduler_pb2.RUN_STATE_RUNNING]


@pytest.mark.parametrize("body", [b"{", b'{"a": NaN}', b"\xff\xfe{}", b"{}{}", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(ParadeError) as caught:
        parse(body)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert caught.value.violations[0].field == "body"


def test_a_body_that_is_no_object_is_refused() -> None:
    assert faults_of([1], dispatcher_pb2.CallRequest()) == {"body": "must be a JSON object"}


def test_an_empty_body_is_an_empty_object() -> None:
    assert parse(b"") == {}


@pytest.mark.parametrize("text", ['{"arguments": 1e999}', '{"arguments": "\\ud800"}'])
def test_a_value_that_cannot_be_written_again_is_refused(text: str) -> None:
    assert faults_of(parse(text.encode()), dispatcher_pb2.CallRequest()).keys() == {"arguments"}
