"""Every object of the model comes back as it was, and takes no more room than what it says."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.errors import Reason, Violation
from parade_scheduler.document import Document
from parade_scheduler.model import Failure, Run, RunEvent, Step, StepState, Task, TaskState
from parade_scheduler.storage.records import Codec, Documents, NewerError, micros_of, time_of
from tests.support.model_values import values

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


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


def test_a_state_of_a_newer_version_is_said_to_be_one() -> None:
    facts = {"id": "a", "position": 0, "call": "x.a", "state": "FROZEN"}

    with pytest.raises(NewerError, match="a newer scheduler has written this: its StepState `FROZEN`") as caught:
        Codec(Step).read(facts, Document)  # type: ignore[arg-type]  # not asked

    assert caught.value.reason is Reason.UNAVAILABLE


def test_a_field_that_cannot_be_kept_is_found_at_the_import() -> None:
    @dataclass
    class Odd:
        numbers: set[int]

    with pytest.raises(TypeError, match="cannot be kept"):
        Codec(Odd)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_kept_to_the_microsecond(time: datetime) -> None:
    assert time_of(micros_of(time)) == time
