"""Values with expressions in their texts."""

import json
from typing import Any

import pytest

from parade.wire.errors import ParadeError
from tests.unit.scheduler.documents import read
from tests.unit.scheduler.simulation import Simulation


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{ inputs.n }}", 5),
        ("  ${{ inputs.n }}\n", "  5\n"),
        ("n=${{ inputs.n }}, l=${{ inputs.l }}, z=${{ inputs.z }}, t=${{ inputs.t }}", "n=5, l=[1,null], z=, t=true"),
        ("${{ inputs.n }}${{ inputs.n }}", "55"),
        ("${{ '${{ }}' }}", "${{ }}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("no expression }} here", "no expression }} here"),
    ],
)
def test_templates_keep_the_type_of_a_lone_expression_and_join_texts(template: str, value: Any) -> None:
    source = {"name": "a", "inputs": {key: {} for key in "nlzt"}, "steps": {"s": {"call": "a.b", "with": {"k": template}}}}
    definition = read(json.dumps(source))

    filled = definition.steps["s"].arguments.fill({"inputs": {"n": 5, "l": [1, None], "z": None, "t": True}}, "here")

    assert filled == {"k": value}


def test_a_block_scalar_with_a_lone_expression_keeps_its_type() -> None:
    definition = read("name: a\nsteps:\n  s:\n    call: a.b\n    with:\n      k: |\n        ${{ 1 + 1 }}\n")

    assert definition.steps["s"].arguments.fill({}, "here") == {"k": 2}


@pytest.mark.parametrize("value", ["${{ inputs.text }}" * 100, ["${{ inputs.text }}"] * 100, {"k": {"deep": ["${{ inputs.text }}"] * 100}}])
def test_a_value_that_would_be_larger_than_may_travel_is_given_up(value: Any) -> None:
    source = {"name": "a", "inputs": {"text": {}}, "steps": {"s": {"call": "a.b", "with": {"k": value}}}}
    template = read(json.dumps(source)).steps["s"].arguments

    assert template.fill({"inputs": {"text": "x" * 1_000}}, "here")
    with pytest.raises(ParadeError, match="larger than the 4 MiB that may travel"):
        template.fill({"inputs": {"text": "x" * 1_000_000}}, "here")


@pytest.mark.parametrize("place", ["with", "outputs"])
def test_a_run_of_which_a_value_would_be_too_large_fails(place: str) -> None:
    handed_on = {"k": ["${{ steps.a.output }}"] * 100}
    steps = {"a": {"call": "x.a"}, **({"b": {"call": "x.b", "needs": "a", "with": handed_on}} if place == "with" else {})}
    run = Simulation({"name": "flow", "steps": steps, **({"outputs": handed_on} if place == "outputs" else {})})

    run.succeed("a", "x" * 1_000_000)

    assert run.state.value == "FAILED"
    assert run.run_row.failure is not None
    assert "larger than the 4 MiB that may travel" in run.run_row.failure.message
