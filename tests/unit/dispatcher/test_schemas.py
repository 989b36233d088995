"""Whether values fit their schemas, and what is said where they do not."""

from typing import Any

import orjson
import pytest

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher.model import Artifact
from parade_dispatcher.schemas import LONGEST_DESCRIPTION, MOST_VIOLATIONS, Schemas

ROWS = orjson.dumps(
    {
        "type": "object",
        "properties": {
            "rows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"price": {"type": "number"}, "unit price": {"type": "number"}},
                    "required": ["price"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["rows"],
    }
)


def refused(schema: bytes, arguments: Any) -> dict[str, str]:
    data = arguments if isinstance(arguments, bytes) else orjson.dumps(arguments)
    with pytest.raises(ParadeError) as raised:
        Schemas(1000).check_arguments(schema, data)
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    return {violation.field: violation.description for violation in raised.value.violations}


def test_arguments_within_their_schema_pass() -> None:
    Schemas(1000).check_arguments(ROWS, b'{"rows": [{"price": 1.5}]}')


def test_a_function_without_a_schema_takes_any_object() -> None:
    Schemas(1000).check_arguments(b"", b'{"anything": [1]}')


def test_an_artifact_is_for_its_reader_to_check() -> None:
    artifact = Artifact("sha256:" + "0" * 64, 2**30)

    Schemas(1000).check_arguments(ROWS, artifact)
    Schemas(1000).check_result(ROWS, artifact)


def test_every_fault_is_named_by_its_path() -> None:
    rows = [{"price": 1}, {"price": "much"}, {}, {"price": 1, "unit price": "x"}, {"price": 1, "tax": 2}]

    faults = refused(ROWS, {"rows": rows})

    assert faults == {
        "arguments.rows[1].price": '"much" is not of type "number"',
        "arguments.rows[2].price": "is missing",
        'arguments.rows[3]["unit price"]': '"x" is not of type "number"',
        "arguments.rows[4].tax": "is not known here",
    }


def test_a_missing_argument_is_named() -> None:
    assert refused(ROWS, {}) == {"arguments.rows": "is missing"}


@pytest.mark.parametrize(
    ("data", "description"),
    [(b"[1]", "not an array"), (b"null", "not null"), (b"3", "not a number"), (b"{", "not valid JSON"), (b"\xff", "not valid JSON")],
)
def test_arguments_that_are_no_json_object_are_refused(data: bytes, description: str) -> None:
    assert description in refused(ROWS, data)["arguments"]


def test_no_more_than_the_first_faults_are_named() -> None:
    assert len(refused(ROWS, {"rows": [{} for _ in range(100)]})) == MOST_VIOLATIONS


def test_a_fault_in_a_large_value_is_described_shortly() -> None:
    faults = refused(ROWS, {"rows": [{"price": "x" * 100_000}]})

    assert len(faults["arguments.rows[0].price"]) < LONGEST_DESCRIPTION + 10


def test_values_nested_too_deeply_are_refused() -> None:
    deep = b'{"rows":' + b"[" * 900 + b"]" * 900 + b"}"

    assert refused(ROWS, deep)


def test_a_result_outside_its_schema_is_the_agents_error() -> None:
    with pytest.raises(ParadeError, match=r"result\.rows\[0\]\.price: is missing") as raised:
        Schemas(1000).check_result(ROWS, b'{"rows": [{}]}')

    assert raised.value.reason is Reason.AGENT_ERROR
    assert not raised.value.retryable


@pytest.mark.parametrize("result", [b"", b"nonsense"])
def test_a_result_that_is_no_json_is_the_agents_error(result: bytes) -> None:
    with pytest.raises(ParadeError, match="not valid JSON") as raised:
        Schemas(1000).check_result(b"", result)

    assert raised.value.reason is Reason.AGENT_ERROR


def test_a_result_that_is_too_large_is_the_agents_error_and_names_size_and_limit() -> None:
    with pytest.raises(ParadeError, match=r"1,002 bytes.*at most 1,000") as raised:
        Schemas(1000).check_result(b"", b'"' + b"x" * 1000 + b'"')

    assert raised.value.reason is Reason.AGENT_ERROR


@pytest.mark.parametrize("schema", [b'{"type": "nonsense"}', b"{", b'{"$ref": "http://127.0.0.1:9/schema"}'])
def test_a_schema_that_is_of_no_use_is_the_agents_error(schema: bytes) -> None:
    with pytest.raises(ParadeError, match="schema of the arguments is of no use") as raised:
        Schemas(1000).check_arguments(schema, b"{}")

    assert raised.value.reason is Reason.AGENT_ERROR


def test_compiled_schemas_are_kept_up_to_the_capacity() -> None:
    schemas = Schemas(1000, capacity=2)
    for bound in (1, 2, 1, 3):
        schemas.check_result(orjson.dumps({"maximum": bound}), b"1")

    assert [orjson.loads(schema)["maximum"] for schema in schemas._compiled] == [1, 3]
