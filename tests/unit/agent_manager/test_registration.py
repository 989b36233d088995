import json

import pytest

from parade_agent_manager.registration import MAX_SCHEMAS_BYTES, faults
from parade_agent_manager.schema import MAX_SCHEMA_BYTES, schema_fault
from tests.support.registrations import function, registration


def test_a_good_registration_has_no_fault() -> None:
    assert faults(registration()) == []


@pytest.mark.parametrize("address", ["10.0.0.7:7100", "cleaner-0.agents.svc:65535", "[::1]:80", "localhost:1"])
def test_addresses_that_can_be_dialled_are_accepted(address: str) -> None:
    assert faults(registration(address=address)) == []


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:", ":7100", "localhost:0", "localhost:65536", "a b:1", "http://x:1", "::1:80"]
)
def test_addresses_that_cannot_be_dialled_are_refused(address: str) -> None:
    assert [fault.field for fault in faults(registration(address=address))] == ["address"]


def test_every_fault_is_reported_at_once() -> None:
    bad = registration(
        address="nowhere",
        max_concurrency=0,
        pid=-1,
        version="v" * 200,
        host="h" * 300,
        labels={"-": "x", "fine": "y" * 300},
        functions=(
            function("clean", timeout=0.0),
            function("clean", description="d" * 20_000),
            function("1st", arguments_schema=b"{", result_schema=b"[]"),
        ),
    )

    fields = [fault.field for fault in faults(bad)]

    assert sorted(fields) == sorted(
        [
            "address",
            "max_concurrency",
            "pid",
            "version",
            "host",
            'labels["-"]',
            'labels["fine"]',
            "functions[0].timeout",
            "functions[1].name",
            "functions[1].description",
            "functions[2].name",
            "functions[2].arguments_schema",
            "functions[2].result_schema",
        ]
    )


@pytest.mark.parametrize("count", [0, 201])
def test_the_number_of_functions_is_bounded(count: int) -> None:
    functions = tuple(function(f"f{number}") for number in range(count))
    assert [fault.field for fault in faults(registration(functions=functions))] == ["functions"]


def test_more_than_thirty_two_labels_are_refused() -> None:
    assert [fault.field for fault in faults(registration(labels={f"l{number}": "" for number in range(33)}))] == ["labels"]


def test_schemas_that_together_would_not_fit_into_a_message_are_refused() -> None:
    schema = json.dumps({"description": "x" * (MAX_SCHEMA_BYTES - 100)}).encode()
    count = MAX_SCHEMAS_BYTES // len(schema) + 1
    functions = tuple(function(f"f{number}", result_schema=schema) for number in range(count))
    assert [fault.field for fault in faults(registration(functions=functions))] == ["functions"]


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 24 * 3600 + 0.1])
def test_a_timeout_is_more_than_nothing_and_at_most_a_day(timeout: float) -> None:
    assert [fault.field for fault in faults(registration(functions=(function(timeout=timeout),)))] == ["functions[0].timeout"]


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"true",
        b"[]",
        b"{]",
        b"\xff\xfe",
        b'{"maximum": NaN}',
        b'{"type": "strng"}',
        b'{"pattern": "("}',
        b'{"$ref": "#/$defs/nowhere"}',
        b'{"$ref": "http://169.254.169.254/latest/meta-data"}',
        b'{"$ref": "file:///etc/passwd"}',
        b'{"$schema": "http://json-schema.org/draft-07/schema#"}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"properties": {"a":' * 5_000 + b"{}" + b"}}" * 5_000,
        b'{"description": "' + b"x" * MAX_SCHEMA_BYTES + b'"}',
    ],
    ids=range(15),
)
def test_a_schema_that_would_fail_every_call_is_refused(schema: bytes) -> None:
    assert schema_fault(schema, of_object=False)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {
            "type": "object",
            "properties": {"rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}}},
            "$defs": {"Row": {"type": "object"}},
        },
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
    ],
    ids=["anything", "references", "dialect"],
)
def test_a_valid_schema_is_accepted(schema: dict[str, object]) -> None:
    assert schema_fault(json.dumps(schema).encode(), of_object=True) == ""


def test_arguments_must_be_an_object_and_results_need_not() -> None:
    assert schema_fault(b'{"type": "array"}', of_object=True)
    assert not schema_fault(b'{"type": "array"}', of_object=False)
