import json

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from parade_monitor.attributes import DROPPED, MAX_ATTRIBUTES, MAX_DEPTH, MAX_JSON_BYTES, MAX_TEXT, to_json, to_text, to_value


def attribute(key: str, text: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=text))


def test_every_kind_of_value_has_its_json() -> None:
    values = {
        "text": AnyValue(string_value="a"),
        "truth": AnyValue(bool_value=True),
        "whole": AnyValue(int_value=-(2**63)),
        "real": AnyValue(double_value=0.5),
        "not a number": AnyValue(double_value=float("nan")),
        "bytes": AnyValue(bytes_value=b"\x00\xff"),
        "list": AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])),
        "object": AnyValue(kvlist_value=KeyValueList(values=[attribute("inner", "b")])),
        "nothing": AnyValue(),
    }

    encoded = json.loads(to_json(KeyValue(key=key, value=value) for key, value in values.items()))

    assert encoded == {
        "text": "a",
        "truth": True,
        "whole": -(2**63),
        "real": 0.5,
        "not a number": None,
        "bytes": "AP8=",
        "list": [1, None],
        "object": {"inner": "b"},
        "nothing": None,
    }


def test_a_long_text_is_cut() -> None:
    encoded = json.loads(to_json([attribute("long", "ä" * (MAX_TEXT + 1))]))

    assert encoded == {"long": "ä" * MAX_TEXT}


def test_attributes_beyond_the_number_are_left_out_and_counted_with_the_senders() -> None:
    encoded = json.loads(to_json([attribute(f"k{number}", "") for number in range(MAX_ATTRIBUTES + 2)], dropped=3))

    assert len(encoded) == MAX_ATTRIBUTES + 1
    assert encoded[DROPPED] == 5


def test_attributes_beyond_the_size_are_left_out_and_smaller_ones_kept() -> None:
    large = [attribute(f"large{number}", "ä" * MAX_TEXT) for number in range(5)]

    encoded = to_json([*large, attribute("small", "kept")])

    assert len(encoded.encode()) < MAX_JSON_BYTES + 1024
    assert json.loads(encoded)["small"] == "kept"
    assert json.loads(encoded)[DROPPED] == 4


def test_of_two_attributes_with_one_key_the_first_counts() -> None:
    assert json.loads(to_json([attribute("key", "first"), attribute("key", "second")])) == {"key": "first", DROPPED: 1}


def test_nesting_ends_at_a_depth() -> None:
    value = AnyValue(string_value="bottom")
    for _ in range(MAX_DEPTH + 1):
        value = AnyValue(array_value=ArrayValue(values=[value]))

    plain = to_value(value)

    for _ in range(MAX_DEPTH):
        plain = plain[0]
    assert plain is None


def test_nul_is_replaced_since_postgresql_refuses_it() -> None:
    assert to_text(AnyValue(string_value="a\x00b")) == "a\N{REPLACEMENT CHARACTER}b"


def test_a_body_that_is_no_text_becomes_json() -> None:
    assert to_text(AnyValue(kvlist_value=KeyValueList(values=[attribute("key", "value")]))) == '{"key":"value"}'
