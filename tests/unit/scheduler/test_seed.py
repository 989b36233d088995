"""What a run that repeats another one, or branches off from one, takes over from it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.definitions.durables import definition_of
from parade_scheduler.document import Document
from parade_scheduler.language import Definition, read
from parade_scheduler.model import Failure, Run, RunState, Step, StepState
from parade_scheduler.starts.seed import Seed, branched, inputs_of, repeated

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIAMOND = {
    "left": {"call": "x.left"},
    "right": {"call": "x.right"},
    "join": {"call": "x.join", "needs": ["left", "right"]},
    "last": {"call": "x.last", "needs": ["join"]},
}
RACE = {
    "quick": {"call": "x.quick"},
    "slow": {"call": "x.slow", "needs": ["prepare"]},
    "prepare": {"call": "x.prepare"},
    "first": {"race": ["quick", "slow"]},
    "last": {"call": "x.last", "needs": ["first"]},
}


def defined(steps: Mapping[str, Any], **words: Any) -> Definition:
    return read(orjson.dumps({"name": "flow", "steps": steps, **words}).decode())


def earlier(definition: Definition, **states: StepState) -> tuple[Run, list[Step]]:
    """Returns a run that has ended, of which all steps succeeded that are not named."""
    rows: list[Step] = []
    for position, step in enumerate(definition.steps.values()):
        state = states.get(step.id, StepState.SUCCEEDED)
        failure = Failure(Reason.AGENT_ERROR, "no luck") if state is StepState.FAILED else None
        output = Document.of(step.id) if state is StepState.SUCCEEDED else None
        end = NOW + timedelta(seconds=position)
        rows.append(Step(step.id, position, step.call, state, 1, failure=failure, output=output, kind=step.kind, end_time=end))
    return Run("run-1", "default", "flow", 1, Document(b"{}"), NOW, RunState.FAILED), rows


def kept(seed: Seed) -> set[str]:
    return {step.id for step in seed.steps}


def test_what_does_not_need_the_step_is_kept_with_its_output() -> None:
    definition = defined(DIAMOND)

    seed = repeated(definition, *earlier(definition), "right")

    assert seed.origin == "run-1"
    assert [(step.id, step.output) for step in seed.steps] == [("left", Document.of("left"))]
    assert seed.failure is None


def test_nothing_is_kept_where_no_step_is_named() -> None:
    definition = defined(DIAMOND)

    assert repeated(definition, *earlier(definition), "") == Seed("run-1")


def test_another_step_that_failed_or_was_cancelled_runs_again_too() -> None:
    definition = defined({**DIAMOND, "aside": {"call": "x.aside"}, "after": {"call": "x.after", "needs": ["aside"]}})
    states = {"right": StepState.FAILED, "aside": StepState.FAILED, "after": StepState.SKIPPED, "left": StepState.CANCELLED}

    assert kept(repeated(definition, *earlier(definition, **states), "right")) == set()


def test_what_the_step_needs_keeps_its_failure_and_the_run_fails_with_it() -> None:
    definition = defined({"a": {"call": "x.a"}, "b": {"call": "x.b", "needs": ["a"], "when": "always"}})

    seed = repeated(definition, *earlier(definition, a=StepState.FAILED), "b")

    assert kept(seed) == {"a"}
    assert seed.failure == Failure(Reason.AGENT_ERROR, "the step `a` failed: no luck", metadata={"step": "a"})


@pytest.mark.parametrize("state", [StepState.CANCELLED, StepState.PENDING, StepState.RUNNING])
def test_a_step_whose_needs_did_not_end_is_refused(state: StepState) -> None:
    definition = defined(DIAMOND)

    with pytest.raises(ParadeError, match="`left`, which `join` needs, did not end") as caught:
        repeated(definition, *earlier(definition, left=state), "join")

    assert caught.value.reason is Reason.FAILED_PRECONDITION
    assert caught.value.metadata == {"step": "left"}


def test_a_step_whose_need_was_undone_is_refused() -> None:
    definition = defined(DIAMOND)
    run, rows = earlier(definition)
    rows.append(Step("left.compensate", 4, "x.undo", StepState.SUCCEEDED, 1))

    with pytest.raises(ParadeError, match="`left`, which `last` needs, was undone") as caught:
        repeated(definition, run, rows, "last")

    assert caught.value.reason is Reason.FAILED_PRECONDITION


def test_a_step_that_was_undone_and_that_the_step_does_not_need_runs_again() -> None:
    definition = defined(DIAMOND)
    run, rows = earlier(definition)
    rows.append(Step("left.compensate", 4, "x.undo", StepState.SUCCEEDED, 1))

    assert kept(repeated(definition, run, rows, "right")) == set()


def test_a_step_that_the_workflow_does_not_have_is_not_found() -> None:
    definition = defined(DIAMOND)

    with pytest.raises(ParadeError, match="has no step `middle`") as caught:
        repeated(definition, *earlier(definition), "middle")

    assert caught.value.reason is Reason.NOT_FOUND


def test_another_version_keeps_the_steps_that_both_have() -> None:
    before = defined(DIAMOND)
    after = defined({"fresh": {"call": "x.fresh"}, **DIAMOND, "left": {"call": "x.better"}})

    seed = repeated(after, *earlier(before), "right")

    assert [(step.id, step.position, step.call) for step in seed.steps] == [("left", 1, "x.better")]


def test_a_step_that_does_something_else_in_another_version_runs_again() -> None:
    before = defined(DIAMOND)
    after = defined({**DIAMOND, "left": {"wait": {"signal": "go"}}})

    assert kept(repeated(after, *earlier(before), "right")) == set()


def test_the_losers_of_a_race_that_is_kept_stay_as_they_are() -> None:
    definition = defined(RACE)
    states = {"slow": StepState.CANCELLED, "prepare": StepState.CANCELLED}

    assert kept(repeated(definition, *earlier(definition, **states), "last")) == {"quick", "slow", "prepare", "first"}


def test_a_race_that_is_run_again_is_run_by_all_its_racers() -> None:
    definition = defined(RACE)

    assert kept(repeated(definition, *earlier(definition), "quick")) == {"prepare"}


def test_many_races_in_each_other_are_looked_through() -> None:
    steps: dict[str, Any] = {"a0": {"call": "x.a"}}
    for number in range(1, 500):
        steps[f"b{number}"] = {"call": "x.b"}
        steps[f"a{number}"] = {"race": [f"a{number - 1}", f"b{number}"]}
    definition = defined({**steps, "last": {"call": "x.last", "needs": ["a499"]}})
    states = {step: StepState.CANCELLED for step in definition.steps if step not in ("a499", "b499", "last")}

    assert kept(repeated(definition, *earlier(definition, **states), "last")) == definition.steps.keys() - {"last"}


def test_a_branch_keeps_what_had_ended_by_then() -> None:
    definition = defined(DIAMOND)

    assert kept(branched(definition, *earlier(definition), {"left"})) == {"left"}
    assert kept(branched(definition, *earlier(definition), {"left", "right", "join"})) == {"left", "right", "join"}


def test_a_branch_runs_anew_what_had_been_cancelled_by_then() -> None:
    definition = defined(DIAMOND)
    states = {"right": StepState.CANCELLED, "join": StepState.CANCELLED, "last": StepState.CANCELLED}

    assert kept(branched(definition, *earlier(definition, **states), set(definition.steps))) == {"left"}


def test_a_branch_keeps_a_step_that_was_undone_later() -> None:
    definition = defined(DIAMOND)
    run, rows = earlier(definition)
    rows.append(Step("left.compensate", 4, "x.undo", StepState.SUCCEEDED, 1))

    assert kept(branched(definition, run, rows, {"left"})) == {"left"}


def test_a_branch_runs_anew_what_had_been_undone_by_then() -> None:
    definition = defined(DIAMOND)
    run, rows = earlier(definition)
    rows.append(Step("left.compensate", 4, "x.undo", StepState.SUCCEEDED, 1))

    assert kept(branched(definition, run, rows, {"left", "right", "left.compensate"})) == {"right"}


def test_a_branch_before_the_end_of_a_race_runs_its_losers_anew() -> None:
    definition = defined(RACE)
    states = {"slow": StepState.CANCELLED, "prepare": StepState.SUCCEEDED}

    assert kept(branched(definition, *earlier(definition, **states), {"quick", "slow", "prepare"})) == {"quick", "prepare"}


def test_a_durable_function_keeps_all_its_arguments() -> None:
    definition = definition_of("travel.trip")
    run = Run("run-1", "default", "travel.trip", 0, Document.of({"city": "Rome", "nights": None}), NOW)

    assert inputs_of(definition, run, {"city": "Oslo"}).value == {"city": "Oslo", "nights": None}


def test_inputs_that_are_given_replace_the_earlier_ones() -> None:
    definition = defined(
        DIAMOND,
        inputs={"a": {"schema": {"type": "integer"}}, "b": {"default": 2}, "c": {"required": False, "schema": {"type": "string"}}},
    )
    run = Run("run-1", "default", "flow", 1, Document.of({"a": 1, "b": 7, "c": None, "gone": 5}), NOW)

    assert inputs_of(definition, run, {"a": 3}).value == {"a": 3, "b": 7}
    assert definition.inputs.complete(inputs_of(definition, run, {}).value) == {"a": 1, "b": 7, "c": None}
