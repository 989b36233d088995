"""The inputs of a workflow: their words, their defaults, and what does not fit."""

from typing import Any

import pytest

from parade.wire.errors import ParadeError
from parade_scheduler.language import Definition
from tests.unit.scheduler.documents import REPORT, read


def test_an_input_may_have_words_of_json_schema() -> None:
    shops = "shops: {type: array, items: {type: string}, default: [n]}"

    definition = read(f"name: a\ninputs: {{{shops}, k: {{enum: [1, 2], required: false}}}}\nsteps: {{a: {{call: a.b}}}}")

    assert definition.inputs.complete({"k": 2}) == {"shops": ["n"], "k": 2}
    with pytest.raises(ParadeError) as caught:
        definition.inputs.complete({"shops": [1], "k": 3})
    assert [violation.field for violation in caught.value.violations] == ["inputs.shops[0]", "inputs.k"]


@pytest.fixture
def report() -> Definition:
    return read(REPORT)


def test_inputs_are_completed_with_defaults(report: Definition) -> None:
    assert report.inputs.complete({"source": "a.csv"}) == {"source": "a.csv", "on": False, "limit": None}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("inputs.source", "required")]),
        ({"source": 5}, [("inputs.source", "is not of type")]),
        ({"source": "a", "limit": 0, "sorce": 1}, [("inputs.sorce", "there are: limit, on, source"), ("inputs.limit", "minimum")]),
        ([], [("inputs", "an object, this is a list")]),
    ],
)
def test_inputs_that_do_not_fit_are_all_named(report: Definition, given: Any, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(ParadeError) as caught:
        report.inputs.complete(given)

    found = [(violation.field, violation.description) for violation in caught.value.violations]
    assert len(found) == len(expected)
    assert all(field == path and words in text for (field, text), (path, words) in zip(found, expected, strict=True)), found
