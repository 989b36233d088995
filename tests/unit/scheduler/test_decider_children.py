"""What becomes of steps that run other workflows."""

from datetime import timedelta

import pytest

from parade.wire.errors import Reason
from parade_scheduler.decider import CancelChild, StartChild, TaskCancelled
from parade_scheduler.decider.children import child_id
from parade_scheduler.language import Retry
from parade_scheduler.model import EventType, Kind, TaskState
from tests.unit.scheduler.simulation import START, Simulation, flow, of, step


def test_a_run_is_started_with_its_inputs_and_ends_the_step_with_its_outputs() -> None:
    run = Simulation(flow(step("a", Kind.RUN, given={"n": of("inputs.n")}), step("b", needs=["a"])), {"n": 3})

    started = run.children["a", 0, 1]
    assert (started.workflow, started.inputs.value) == ("other", {"n": 3})
    assert run.task_rows["a", 0].child == started.run
    assert next(event.child for event in run.events if event.type is EventType.TASK_STARTED) == started.run
    assert not run.execution.idle
    run.succeed("a", {"sum": 6})

    assert run.output("a") == {"sum": 6}
    assert run.states() == {"a": "SUCCEEDED", "b": "RUNNING"}


def test_every_attempt_is_another_run() -> None:
    run = Simulation(flow(step("a", Kind.RUN, retry=Retry(attempts=3))))
    first = run.children["a", 0, 1].run

    run.fail("a", Reason.AGENT_ERROR)
    run.advance(1)
    second = run.children["a", 0, 2].run
    run.fail("a", Reason.NO_CAPACITY)
    run.advance(5)
    third = run.children["a", 0, 3].run
    run.fail("a", Reason.NO_CAPACITY)

    assert len({first, second, third}) == 3
    assert run.task_rows["a", 0].child == third
    assert run.state.value == "FAILED"


def test_a_run_that_could_not_be_started_costs_no_attempt() -> None:
    run = Simulation(flow(step("a", Kind.RUN)))

    run.fail("a", Reason.NO_CAPACITY, metadata={"not_sent": "true"})
    run.advance(1)
    run.succeed("a", 1)

    assert run.state.value == "SUCCEEDED"


def test_a_cancelled_run_cancels_those_that_it_has_started() -> None:
    run = Simulation(flow(step("a", Kind.RUN)))
    child = run.children["a", 0, 1].run

    effects = run.cancel().effects

    assert [(effect.run, effect.step) for effect in effects if isinstance(effect, CancelChild)] == [(child, "a")]
    assert run.state.value == "CANCELLING"
    run.confirm_cancels()
    assert run.state.value == "CANCELLED"


def test_a_run_that_somebody_else_cancels_fails_its_step() -> None:
    run = Simulation(flow(step("a", Kind.RUN)))

    run.tell(TaskCancelled("a", 0, 1))

    assert run.failure().reason is Reason.CANCELLED
    assert run.task_rows["a", 0].child in run.failure().message


def test_a_run_that_takes_too_long_is_cancelled_and_tried_again() -> None:
    run = Simulation(flow(step("a", Kind.RUN, timeout=60, retry=Retry(attempts=2))))

    run.advance(60)
    assert run.cancelled == {("a", 0, 1)}
    assert run.states() == {"a": "RUNNING"}
    run.confirm_cancels()
    assert run.task_rows["a", 0].state is TaskState.RETRYING
    run.advance(1)
    assert run.task_rows["a", 0].due == START + timedelta(seconds=121)
    run.advance(60)
    run.confirm_cancels()

    assert run.failure().reason is Reason.DEADLINE_EXCEEDED
    assert "had not ended after 60s" in run.failure().message


def test_a_result_that_comes_after_the_timeout_counts() -> None:
    run = Simulation(flow(step("a", Kind.RUN, timeout=60)))
    run.advance(60)

    run.succeed("a", 1)

    assert run.state.value == "SUCCEEDED"


def test_after_a_crash_the_same_run_is_started_again() -> None:
    run = Simulation(flow(step("a", Kind.RUN, timeout=60)))
    before = run.children["a", 0, 1]
    run.advance(10)

    run.crash()

    assert run.children["a", 0, 1] == before
    assert [timer.time for timer in run.timers] == [START + timedelta(seconds=60)]


def test_after_a_crash_a_run_that_was_being_cancelled_is_cancelled_again() -> None:
    run = Simulation(flow(step("a", Kind.RUN)))
    run.cancel()

    run.crash()

    assert run.cancelled == {("a", 0, 1)}
    run.confirm_cancels()
    assert run.state.value == "CANCELLED"


def test_each_item_has_its_run() -> None:
    run = Simulation(flow(step("a", Kind.RUN, items=flow(step("x", given=[1, 2])).steps["x"].arguments, max_parallel=2)))

    assert len({child.run for child in run.children.values()}) == 2
    run.succeed("a", "x", task=1)
    run.succeed("a", "y", task=0)

    assert run.output("a") == ["y", "x"]


@pytest.mark.parametrize(
    ("parent", "pattern"),
    [
        ("run-01k9abc-07", "run-01k9abc-{}-07"),
        ("run-01k9abc-0123456789ab-07", "run-01k9abc-{}-07"),
        ("run-01k9abc", "run-01k9abc-{}"),
        ("run-01k9abc-x7", "run-01k9abc-{}"),
    ],
)
def test_the_id_of_a_run_stays_in_the_shard_of_its_parent(parent: str, pattern: str) -> None:
    before, after = pattern.split("{}")

    id = child_id(parent, "a", 0, 1)

    assert id.startswith(before)
    assert id.endswith(after)
    assert len(id) == len(before) + 12 + len(after)
    assert id == child_id(parent, "a", 0, 1)
    assert len({id, child_id(parent, "a", 0, 2), child_id(parent, "a", 1, 1), child_id(parent, "b", 0, 1)}) == 4


def test_children_are_told_apart_from_calls() -> None:
    run = Simulation(flow(step("a", Kind.RUN), step("b")))

    assert isinstance(run.children["a", 0, 1], StartChild)
    assert list(run.out) == [("b", 0, 1)]
