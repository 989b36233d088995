"""What a function's type hints become, and what passes through them."""

import enum
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, Optional

import orjson
import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypedDict

import parade
from parade.function import Function
from parade.hosting import contract
from parade.wire.errors import ParadeError, Reason

NOTHING = object()


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Row:
    price: float
    name: str = "x"


class Options(TypedDict):
    deep: bool


class Summary(BaseModel):
    rows: int
    on: date


def arguments_schema(function: Function) -> dict[str, Any]:
    return dict(orjson.loads(function.arguments_schema))


def result_schema(function: Function) -> dict[str, Any]:
    return dict(orjson.loads(function.result_schema))


def faults(function: Function, data: bytes) -> list[str]:
    with pytest.raises(ParadeError) as caught:
        function.decode(data)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    return sorted(violation.field for violation in caught.value.violations)


WRONG: Any = "many"
UNCHECKED = Summary.model_construct(rows=WRONG, on=date(2026, 1, 2))


async def describe(
    rows: list[Row],
    options: Options,
    limit: Annotated[int, Field(ge=1, description="How many.")] = 10,
    colour: Colour = Colour.RED,
    mode: Literal["fast", "exact"] = "fast",
    note: Optional[str] = None,  # noqa: UP045  # as many people write it
    *,
    context: parade.Context,
) -> Summary:
    """Describes rows.

    At length.
    """
    raise NotImplementedError


def test_hints_become_a_closed_object_schema_with_what_is_required() -> None:
    schema = arguments_schema(Function.of(describe))

    assert (schema["type"], schema["additionalProperties"], schema["required"]) == ("object", False, ["rows", "options"])
    assert list(schema["properties"]) == ["rows", "options", "limit", "colour", "mode", "note"]
    assert schema["properties"]["limit"] == {"title": "Limit", "type": "integer", "minimum": 1, "default": 10, "description": "How many."}
    assert schema["properties"]["mode"]["enum"] == ["fast", "exact"]
    assert schema["$defs"]["Row"]["required"] == ["price"]


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    def nothing() -> None: ...

    function = Function.of(nothing)

    schema = arguments_schema(function)
    assert (schema["properties"], schema["required"], schema["additionalProperties"]) == ({}, [], False)
    assert result_schema(function) == {"type": "null"}
    assert function.encode(None) == b"null"


def test_what_nobody_says_is_careful() -> None:
    function = Function.of(describe)

    assert (function.name, function.effect, function.timeout) == ("describe", "effect", 60.0)
    assert function.description == "Describes rows.\n\nAt length."


def test_arguments_are_built_and_defaults_left_to_the_function() -> None:
    arguments = Function.of(describe).decode(b'{"rows": [{"price": 1}], "options": {"deep": true}, "colour": "blue"}')

    assert arguments == {"rows": [Row(1.0)], "options": {"deep": True}, "colour": Colour.BLUE}


def test_each_fault_of_the_arguments_is_a_violation() -> None:
    data = b'{"rows": [{"price": "x"}, {}], "limit": 0, "mode": "slow", "more": 1}'

    assert faults(Function.of(describe), data) == [
        "arguments.limit",
        "arguments.mode",
        "arguments.more",
        "arguments.options",
        "arguments.rows[0].price",
        "arguments.rows[1].price",
    ]


@pytest.mark.parametrize("data", [b"[1]", b"{", b"null", b'"x"'])
def test_arguments_that_are_no_object_are_refused(data: bytes) -> None:
    assert faults(Function.of(describe), data) == ["arguments"]


def test_no_argument_can_be_given_in_place_of_the_context() -> None:
    assert "arguments.context" in faults(Function.of(describe), b'{"rows": [], "options": {"deep": true}, "context": {}}')


def test_a_parameter_may_have_any_name() -> None:
    def odd(schema: int, model_config: str, _private: float, copy: int = 1) -> None: ...

    assert Function.of(odd).decode(b'{"schema": 1, "model_config": "a", "_private": 0.5, "copy": 2}') == {
        "schema": 1,
        "model_config": "a",
        "_private": 0.5,
        "copy": 2,
    }


def test_an_argument_goes_by_its_parameter_whatever_alias_its_hint_has() -> None:
    def find(text: Annotated[str, Field(alias="query", min_length=1)], limit: Annotated[int, Field(alias="most")] = 1) -> None: ...

    function = Function.of(find)

    assert function.decode(b'{"text": "a", "limit": 2}') == {"text": "a", "limit": 2}
    assert faults(function, b'{"text": "", "most": 1}') == ["arguments.most", "arguments.text"]


def test_a_default_without_a_json_form_is_no_hindrance() -> None:
    def search(since: date = date.min, key: Any = NOTHING) -> None: ...

    assert Function.of(search).decode(b"{}") == {}


def test_a_model_is_written_as_its_schema_says() -> None:
    function = Function.of(describe)

    assert function.encode(Summary(rows=1, on=date(2026, 1, 2))) == b'{"rows":1,"on":"2026-01-02"}'
    assert function.encode({"rows": 1, "on": "2026-01-02"}) == b'{"rows":1,"on":"2026-01-02"}'


@pytest.mark.parametrize(
    "result",
    [None, {"rows": "many", "on": "2026-01-02"}, {"rows": 1}, UNCHECKED],
    ids=["nothing", "wrong type", "missing field", "unchecked model"],
)
def test_a_result_outside_the_schema_is_an_agent_error(result: Any) -> None:
    with pytest.raises(ParadeError, match="outside its schema") as caught:
        Function.of(describe).encode(result)

    assert caught.value.reason is Reason.AGENT_ERROR
    assert caught.value.violations


def test_what_json_has_no_number_for_is_outside_the_schema() -> None:
    def mean() -> list[float]:
        raise NotImplementedError

    with pytest.raises(ParadeError, match="outside its schema"):
        Function.of(mean).encode([1.0, math.nan])


def test_generators_stream_the_type_that_they_yield() -> None:
    async def several() -> AsyncIterator[int]:
        yield 1

    def threaded() -> Iterator[Row]:
        yield Row(1.0)

    asynchronous, synchronous = Function.of(several), Function.of(threaded)

    assert (asynchronous.streaming, asynchronous.threaded, result_schema(asynchronous)) == (True, False, {"type": "integer"})
    assert (synchronous.streaming, synchronous.threaded, result_schema(synchronous)["title"]) == (True, True, "Row")


class Opaque:
    pass


def no_hint(rows) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def no_result(rows: int): ...  # type: ignore[no-untyped-def]  # noqa: ANN201
def opaque(thing: Opaque) -> None: ...
def opaque_result() -> list[Opaque]:
    raise NotImplementedError


def variadic(*rows: int) -> None: ...
def keywords(**rows: int) -> None: ...
def returned_iterator() -> Iterator[int]:
    raise NotImplementedError


def unread(rows: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def field_as_default(limit: int = Field(1)) -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (no_hint, "no_hint: parameter 'rows' has no type hint"),
        (no_result, "no_result: the result has no type hint"),
        (opaque, "opaque: the type of parameter 'thing', Opaque, has no JSON form"),
        (opaque_result, "opaque_result: the type of the result, list"),
        (variadic, r"variadic: parameter '\*rows: int' has no name"),
        (keywords, r"keywords: parameter '\*\*rows: int' has no name"),
        (returned_iterator, "returned_iterator: it is hinted to return an iterator and does not yield"),
        (unread, "unread: a type hint cannot be read: name 'Missing'"),
        (field_as_default, r"field_as_default: put the Field\(…\) of parameter 'limit'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_hints_that_cannot_be_used_are_explained(handler: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Function.of(handler)


@pytest.mark.parametrize("given", [{"name": "1st"}, {"effect": "none"}, {"timeout": 0}, {"timeout": 90_000}], ids=str)
def test_what_is_outside_its_bounds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"describe|1st"):
        Function.of(describe, **given)


@pytest.mark.parametrize(
    ("hint", "value", "written"),
    [
        (str, "ü", '"ü"'.encode()),
        (int, True, b"1"),
        (int, 2**70, str(2**70).encode()),
        (bool, False, b"false"),
        (float, 1, b"1.0"),
        (type(None), None, b"null"),
        (Any, "ü", '"ü"'.encode()),
        (Any, 2**70, str(2**70).encode()),
        (Any, [1.5, None], b"[1.5,null]"),
        (str | None, None, b"null"),
        (bool | Row, Row(1.0), b'{"price":1.0,"name":"x"}'),
        (Annotated[str, AfterValidator(str.upper)] | str, "a", b'"A"'),
        (int | str, "1", b'"1"'),
    ],
    ids=str,
)
def test_plain_results_are_written_as_their_types_say(hint: Any, value: Any, written: bytes) -> None:
    def give() -> Any:
        raise NotImplementedError

    give.__annotations__["return"] = hint

    assert Function.of(give).encode(value) == written


@pytest.mark.parametrize(
    ("hint", "value"), [(str, "\ud800"), (str, 1), (int, "x"), (type(None), 0), (str | None, 1), (Any, "\ud800")], ids=str
)
def test_plain_results_outside_their_type_are_agent_errors(hint: Any, value: Any) -> None:
    def give() -> Any:
        raise NotImplementedError

    give.__annotations__["return"] = hint

    with pytest.raises(ParadeError, match="outside its schema"):
        Function.of(give).encode(value)


def test_a_function_that_wants_a_process_must_be_found_there() -> None:
    def inside() -> None: ...

    with pytest.raises(ValueError, match="at the top of its module"):
        Function.of(inside, process=True)
    assert Function.of(describe, process=True).process


def test_a_retry_policy_travels_with_its_function() -> None:
    policy = parade.RetryPolicy(max_attempts=5, initial_backoff=0.25, max_backoff=2, multiplier=1.5)

    said, silent = contract.functions([Function.of(describe, retry=policy), Function.of(describe)])

    assert (said.retry.max_attempts, said.retry.multiplier) == (5, 1.5)
    assert (said.retry.initial_backoff.ToMilliseconds(), said.retry.max_backoff.ToMilliseconds()) == (250, 2000)
    assert not silent.HasField("retry")


@pytest.mark.parametrize(
    "given",
    [
        {"max_attempts": 0},
        {"max_attempts": 11},
        {"max_attempts": True},
        {"initial_backoff": 0},
        {"initial_backoff": math.nan},
        {"initial_backoff": 2, "max_backoff": 1},
        {"max_backoff": math.inf},
        {"multiplier": 0.5},
    ],
    ids=str,
)
def test_a_retry_policy_outside_its_bounds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(reversed(given))):
        parade.RetryPolicy(**given)


def test_something_else_is_no_retry_policy() -> None:
    wrong: Any = 3

    with pytest.raises(TypeError, match="RetryPolicy"):
        Function.of(describe, retry=wrong)
