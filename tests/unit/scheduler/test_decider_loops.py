"""What becomes of steps that are repeated until a condition holds."""

from typing import Any

import pytest

from parade.wire.errors import Reason
from parade_scheduler.decider import MAX_TASKS
from parade_scheduler.language import Retry, StepDefinition
from parade_scheduler.language.definition import Loop, Signal
from parade_scheduler.model import EventType, Kind
from tests.unit.scheduler.simulation import Simulation, flow, of, step


def looping(until: str = "output.done", limit: int = 5, **words: Any) -> StepDefinition:
    return step("a", loop=Loop(of(until), limit), given={"i": of("index"), "last": of("output")}, **words)


def test_a_step_is_repeated_until_its_condition_holds() -> None:
    run = Simulation(flow(looping(), outputs={"result": of("steps.a.output")}))

    seen = [run.arguments("a", 0)]
    run.succeed("a", {"done": False}, task=0)
    seen.append(run.arguments("a", 1))
    run.succeed("a", {"done": False, "n": 2}, task=1)
    seen.append(run.arguments("a", 2))
    run.succeed("a", {"done": True}, task=2)

    assert seen == [{"i": 0, "last": None}, {"i": 1, "last": {"done": False}}, {"i": 2, "last": {"done": False, "n": 2}}]
    assert run.output("a") == {"done": True}
    assert (run.step_rows["a"].tasks, run.step_rows["a"].tasks_succeeded) == (3, 3)
    assert run.run_row.outputs is not None
    assert run.run_row.outputs.value == {"result": {"done": True}}


def test_the_condition_sees_the_turn_the_inputs_and_other_steps() -> None:
    run = Simulation(
        flow(step("z"), step("a", needs=["z"], loop=Loop(of("index == inputs.n && steps.z.output == 1"), 9))),
        {"n": 1},
    )
    run.succeed("z", 1)

    run.succeed("a", task=0)
    run.succeed("a", task=1)

    assert run.state.value == "SUCCEEDED"


def test_a_loop_that_is_not_done_in_time_fails() -> None:
    run = Simulation(flow(looping("false", 3)))

    for turn in range(3):
        run.succeed("a", task=turn)

    assert run.failure().reason is Reason.FAILED_PRECONDITION
    assert "not done after 3 turns" in run.failure().message


@pytest.mark.parametrize("until", ["output.missing", "1"])
def test_a_condition_that_cannot_be_computed_fails_the_step(until: str) -> None:
    run = Simulation(flow(looping(until)))

    run.succeed("a", {})

    assert run.failure().reason is Reason.INVALID_ARGUMENTS
    assert "steps.a.loop.until" in run.failure().message


def test_every_turn_may_be_tried_again() -> None:
    run = Simulation(flow(looping("index == 1", retry=Retry(attempts=2))))

    run.fail("a", task=0)
    run.advance(1)
    run.succeed("a", "first", task=0)
    run.fail("a", task=1)
    run.advance(1)
    assert run.arguments("a", 1) == {"i": 1, "last": "first"}
    run.crash()
    assert run.arguments("a", 1) == {"i": 1, "last": "first"}
    run.succeed("a", "second", task=1)

    assert run.output("a") == "second"


def test_only_the_last_turns_output_is_held() -> None:
    run = Simulation(flow(looping("index == 9", 10)))

    for turn in range(10):
        run.succeed("a", "x" * 1_000_000, task=turn)

    assert run.state.value == "SUCCEEDED"
    assert [index for (_, index), task in run.task_rows.items() if task.output is not None] == [9]


def test_a_loop_ends_with_its_run() -> None:
    run = Simulation(flow(looping("false")))
    run.succeed("a", task=0)

    run.cancel()
    run.confirm_cancels()

    assert run.states() == {"a": "CANCELLED"}


def test_a_loop_of_waits_takes_one_signal_a_turn() -> None:
    run = Simulation(flow(step("a", Kind.SIGNAL, wait=Signal("go"), loop=Loop(of("output == 'end'"), 9))))

    run.signal("go", "x")
    run.signal("go", "y")
    run.signal("go", "end")

    assert run.output("a") == "end"
    assert run.step_rows["a"].tasks == 3


def test_kept_signals_are_taken_by_turns_at_once() -> None:
    run = Simulation(flow(step("z"), step("a", Kind.SIGNAL, needs=["z"], wait=Signal("go"), loop=Loop(of("output == 199"), 1000))))
    for number in range(200):
        run.signal("go", number)

    run.succeed("z")

    assert run.state.value == "SUCCEEDED"
    assert run.step_rows["a"].tasks == 200


def test_a_loop_of_runs_starts_one_after_the_other() -> None:
    run = Simulation(flow(step("a", Kind.RUN, loop=Loop(of("index == 1"), 9))))

    run.succeed("a", task=0)
    assert list(run.children) == [("a", 1, 1)]
    run.succeed("a", "last", task=1)

    assert run.output("a") == "last"


def test_a_run_has_a_bound_on_its_tasks() -> None:
    run = Simulation(flow(looping("false", 10)))
    run.execution.size = MAX_TASKS

    run.succeed("a", task=0)

    assert run.failure().reason is Reason.FAILED_PRECONDITION
    assert "at most 100,000 steps and tasks" in run.failure().message


def test_a_for_each_that_would_pass_the_bound_fails() -> None:
    run = Simulation(flow(step("z"), step("a", needs=["z"], items=looping().arguments.__class__([1, 2]))))
    run.execution.size = MAX_TASKS - 1

    run.succeed("z")

    assert "it has 2 tasks" in run.failure().message
    assert EventType.TASK_STARTED not in run.kinds()[-3:]
