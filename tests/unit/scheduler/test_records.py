"""Every object of the model comes back as it was, and takes no more room than what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.errors import Reason, Violation
from parade_scheduler.document import Document
from parade_scheduler.model import Failure, Run, RunEvent, Step, StepState, Task, TaskState
from parade_scheduler.records import Codec, Documents, micros_of, time_of

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Document: st.binary(max_size=8).map(Document),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Returns the values of a field of the model."""
    origin, arguments = get_origin(hint), get_args(hint)
    if type(None) in arguments:
        return st.none() | st.one_of([values(argument) for argument in arguments if argument is not type(None)])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{field.name: values(hints[field.name]) for field in fields(hint)})
    return LEAVES[hint]


@pytest.mark.parametrize("kind", [Run, Step, Task, RunEvent, Failure])
@given(data=st.data())
def test_whatever_is_written_is_read_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    value, documents = data.draw(values(kind)), Documents()

    written = orjson.loads(orjson.dumps(Codec(kind).write(value, documents)))

    assert Codec(kind).read(written, lambda place: Document(documents.data[place])) == value


def test_what_is_at_its_default_is_not_written() -> None:
    step = Step("a", 0, "x.a", failure=Failure(Reason.AGENT_ERROR, "no", (Violation("a", "b"),)))

    assert Codec(Step).write(step, Documents()) == {
        "id": "a",
        "position": 0,
        "call": "x.a",
        "failure": {"reason": "AGENT_ERROR", "message": "no", "violations": [{"field": "a", "description": "b"}]},
    }


def test_a_document_is_kept_once_and_one_that_is_left_out_not_at_all() -> None:
    shared, documents = Document(b"1"), Documents()
    task = Task("a", 0, TaskState.SUCCEEDED, 1, NOW, output=shared, arguments=shared)

    assert Codec(Task).write(task, documents)["output"] == Codec(Task).write(task, documents)["arguments"] == 0
    Codec(Task, leave_out=("output", "arguments")).write(replace(task, output=Document(b"2"), arguments=Document(b"3")), documents)

    assert documents.data == [b"1"]


def test_fields_of_a_newer_version_are_passed_over() -> None:
    facts = {"id": "a", "position": 0, "call": "x.a", "state": "RUNNING", "colour": {"red": 1}}

    assert Codec(Step).read(facts, Document) == Step("a", 0, "x.a", StepState.RUNNING)  # type: ignore[arg-type]  # not asked


def test_a_field_that_cannot_be_kept_is_found_at_the_import() -> None:
    @dataclass
    class Odd:
        numbers: set[int]

    with pytest.raises(TypeError, match="cannot be kept"):
        Codec(Odd)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_kept_to_the_microsecond(time: datetime) -> None:
    assert time_of(micros_of(time)) == time
