"""What follows from what happens to a run.

One file, though a long one: it is the table of the decider's rules, read as a whole.
"""

from datetime import timedelta
from typing import Any

import pytest

from parade.wire.errors import Reason
from parade_scheduler.decider import CancelTask, RunEnded, TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Failure, Progress, StepState, TaskState
from tests.unit.scheduler.simulation import START, Simulation

CHAIN = {
    "name": "chain",
    "inputs": {"n": {"type": "integer", "default": 1}},
    "steps": {
        "a": {"call": "x.a", "with": {"n": "${{ inputs.n }}"}},
        "b": {"call": "x.b", "needs": "a", "with": {"from_a": "${{ steps.a.output }}", "run": "in ${{ run.id }}"}},
    },
    "outputs": {"result": "${{ steps.b.output }}", "skipped": None},
}


def one(**words: Any) -> dict[str, Any]:
    """Returns a workflow of one step."""
    return {"name": "one", "steps": {"a": {"call": "x.a", **words}}}


def steps(**by_id: dict[str, Any]) -> dict[str, Any]:
    """Returns a workflow of steps that call something."""
    return {"name": "flow", "steps": {step: {"call": "x.y", **words} for step, words in by_id.items()}}


def each(items: Any, **words: Any) -> dict[str, Any]:
    return one(**{"for-each": items, "with": {"i": "${{ item }}", "n": "${{ index }}"}, **words})


def test_a_run_goes_from_step_to_step_and_gives_its_outputs() -> None:
    run = Simulation(CHAIN, {"n": 7})

    assert run.arguments("a") == {"n": 7}
    assert run.handed_out("b") == []
    run.succeed("a", {"rows": 3})
    assert run.arguments("b") == {"from_a": {"rows": 3}, "run": "in run-1"}
    run.succeed("b", [1])

    assert run.state.value == "SUCCEEDED"
    assert run.run_row.outputs is not None
    assert run.run_row.outputs.value == {"result": [1], "skipped": None}
    assert run.run_row.end_time == START
    assert run.ends == 1
    assert run.kinds() == [
        EventType.RUN_STARTED,
        EventType.STEP_STARTED,
        EventType.TASK_STARTED,
        EventType.TASK_SUCCEEDED,
        EventType.STEP_SUCCEEDED,
        EventType.STEP_STARTED,
        EventType.TASK_STARTED,
        EventType.TASK_SUCCEEDED,
        EventType.STEP_SUCCEEDED,
        EventType.RUN_SUCCEEDED,
    ]
    assert [event.sequence for event in run.events] == list(range(1, 11))


def test_steps_without_needs_start_together() -> None:
    run = Simulation(steps(a={}, b={}, c={"needs": ["a", "b"]}))

    assert sorted(step for step, _, _ in run.out) == ["a", "b"]
    run.succeed("b")
    assert run.handed_out("c") == []
    run.succeed("a")
    assert run.handed_out("c") == [0]


@pytest.mark.parametrize("reason", [Reason.AGENT_ERROR, Reason.DEADLINE_EXCEEDED, Reason.INTERNAL])
def test_a_failing_function_is_tried_as_often_as_the_step_says(reason: Reason) -> None:
    run = Simulation(one(retry={"attempts": 3, "delay": "1s", "factor": 3}))

    run.fail("a", reason)
    assert run.task_rows["a", 0].retry_time == START + timedelta(seconds=1)
    run.advance(1)
    run.fail("a", reason)
    assert run.task_rows["a", 0].retry_time == START + timedelta(seconds=4)
    run.advance(3)
    assert list(run.out) == [("a", 0, 3)]
    run.fail("a", reason)

    assert run.state.value == "FAILED"
    assert run.run_row.failure is not None
    assert (run.run_row.failure.reason, run.run_row.failure.metadata["step"]) == (reason, "a")
    assert "the step `a` failed: no luck" in run.run_row.failure.message
    assert run.step_rows["a"].attempts == 3


def test_without_a_retry_a_step_is_tried_once() -> None:
    run = Simulation(one())

    run.fail("a")

    assert run.state.value == "FAILED"


@pytest.mark.parametrize(
    ("reason", "retryable"),
    [
        (Reason.AGENT_ERROR, False),
        (Reason.OUTCOME_UNKNOWN, True),
        (Reason.CANCELLED, True),
        (Reason.INVALID_ARGUMENTS, True),
        (Reason.UNKNOWN_FUNCTION, True),
        (Reason.PERMISSION_DENIED, True),
    ],
)
def test_what_cannot_get_better_fails_at_once(reason: Reason, retryable: bool) -> None:  # noqa: FBT001 - a parameter of the table
    run = Simulation(one(retry={"attempts": 5}))

    run.fail("a", reason, retryable=retryable)

    assert run.states() == {"a": "FAILED"}


@pytest.mark.parametrize("reason", [Reason.NO_CAPACITY, Reason.UNAVAILABLE, Reason.AGENT_LOST])
def test_an_outage_costs_no_attempt_and_is_waited_out_ever_longer(reason: Reason) -> None:
    run = Simulation(one())
    waits = []
    for _ in range(7):
        run.fail("a", reason)
        retry_time = run.task_rows["a", 0].retry_time
        assert retry_time is not None
        waits.append(round((retry_time - run.now).total_seconds(), 3))
        run.advance(waits[-1])

    run.succeed("a", 1)

    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert run.state.value == "SUCCEEDED"


def test_an_outage_ends_in_failure_after_ten_minutes() -> None:
    run = Simulation(one())

    while run.out:
        run.fail("a", Reason.NO_CAPACITY)
        run.advance(5)

    assert run.run_row.failure is not None
    assert run.run_row.failure.reason is Reason.NO_CAPACITY
    assert timedelta(minutes=9, seconds=50) < run.now - START < timedelta(minutes=10, seconds=10)


def test_an_outage_ends_in_failure_with_the_timeout_of_the_step() -> None:
    run = Simulation(one(timeout="3s"))

    while run.out:
        run.fail("a", Reason.UNAVAILABLE)
        run.advance(1)

    assert run.state.value == "FAILED"
    assert run.now - START <= timedelta(seconds=4)


def test_an_attempt_gets_what_is_left_of_the_timeout_and_a_retry_gets_all_of_it() -> None:
    run = Simulation(one(timeout="10s", retry={"attempts": 2, "delay": "1s"}))
    timeouts = [run.out["a", 0, 1].timeout]
    run.fail("a", Reason.NO_CAPACITY)
    run.advance(4)
    timeouts.append(run.out["a", 0, 2].timeout)
    run.fail("a", Reason.DEADLINE_EXCEEDED)
    run.advance(1)
    timeouts.append(run.out["a", 0, 3].timeout)

    assert timeouts == [10, 9.8, 10]


def test_a_call_that_may_have_been_sent_is_redelivered_as_such() -> None:
    run = Simulation(one(retry={"attempts": 2, "delay": "1s"}))
    seen = [run.out["a", 0, 1].redelivered]
    for attempt, (reason, metadata) in enumerate(
        [
            (Reason.UNAVAILABLE, {"not_sent": "true"}),
            (Reason.NO_CAPACITY, {}),
            (Reason.AGENT_LOST, {}),
            (Reason.UNAVAILABLE, {}),
            (Reason.NO_CAPACITY, {}),
            (Reason.AGENT_ERROR, {}),
        ]
    ):
        run.fail("a", reason, metadata=metadata)
        run.advance(5)
        seen.append(run.out["a", 0, attempt + 2].redelivered)

    assert seen == [False, False, False, False, True, True, False]


def test_only_the_current_attempt_counts_and_only_once() -> None:
    run = Simulation(one(retry={"attempts": 2, "delay": "1s"}))
    run.fail("a")

    assert run.succeed("a", 1, attempt=1).events == ()
    run.advance(1)
    assert run.succeed("a", 1, attempt=1).events == ()
    assert run.fail("a", attempt=1).events == ()
    assert run.succeed("a", 2, attempt=3).events == ()
    assert run.tell(TaskFailed("nowhere", 9, 1, Failure(Reason.INTERNAL, "x"))).events == ()
    run.succeed("a", 2)
    assert run.succeed("a", 3, attempt=2).events == ()

    assert run.step_rows["a"].output is not None
    assert run.step_rows["a"].output.value == 2
    assert run.kinds().count(EventType.TASK_SUCCEEDED) == 1


def test_progress_is_passed_on_while_its_attempt_is_current() -> None:
    run = Simulation(one(retry={"attempts": 2}))

    run.tell(TaskProgressed("a", 0, 1, Progress(0.5, "half")))
    run.tell(TaskProgressed("a", 0, 2, Progress(0.6, "other")))
    run.succeed("a")
    run.tell(TaskProgressed("a", 0, 1, Progress(0.7, "late")))

    assert [event.progress.message for event in run.events if event.progress] == ["half"]


def test_a_failure_skips_what_needs_it_and_leaves_other_branches_alone() -> None:
    run = Simulation(steps(a={}, b={"needs": "a"}, c={"needs": "b"}, other={}, after={"needs": "other"}))

    run.fail("a")
    assert run.state.value == "RUNNING"
    run.succeed("other")
    run.succeed("after")

    assert run.states() == {"a": "FAILED", "b": "SKIPPED", "c": "SKIPPED", "other": "SUCCEEDED", "after": "SUCCEEDED"}
    assert run.state.value == "FAILED"
    assert [event.message for event in run.events if event.type is EventType.STEP_SKIPPED] == [
        "`a`, which it needs, failed",
        "`b`, which it needs, was skipped",
    ]


def test_the_run_tells_the_error_of_its_first_failed_step() -> None:
    run = Simulation(steps(a={}, b={}))

    run.fail("b", Reason.UNKNOWN_FUNCTION)
    run.fail("a", Reason.AGENT_ERROR)

    assert run.run_row.failure is not None
    assert run.run_row.failure.reason is Reason.UNKNOWN_FUNCTION


@pytest.mark.parametrize(
    ("condition", "after_success", "after_failure"),
    [
        ("success", True, False),
        ("failure", False, True),
        ("${{ failure }}", False, True),
        ("success || failure", True, True),
        (True, True, True),
        ("true", True, True),
        ("${{ true }}", True, True),
        (False, False, False),
        ("steps.a.state == 'FAILED'", False, True),
        ("1 < 2", True, False),
        ("steps.a.output.go", True, False),
    ],
)
def test_a_condition_decides_whether_a_step_runs(condition: Any, after_success: bool, after_failure: bool) -> None:  # noqa: FBT001 - the table's
    for ends_well, expected in ((True, after_success), (False, after_failure)):
        run = Simulation(steps(a={}, b={"needs": "a", "if": condition}))

        if ends_well:
            run.succeed("a", {"go": True})
        else:
            run.fail("a")

        assert (run.handed_out("b") == [0]) is expected
        assert (run.states()["b"] == "SKIPPED") is not expected


def test_failure_is_seen_through_skipped_steps() -> None:
    run = Simulation(steps(a={}, b={"needs": "a"}, tidy={"needs": "b", "if": "failure"}, last={"needs": "tidy", "if": "failure"}))

    run.fail("a")
    run.succeed("tidy")

    assert run.handed_out("last") == [0]


def test_a_skipped_step_has_no_output_and_is_no_failure() -> None:
    run = Simulation(
        {**steps(a={"if": False}, b={"needs": "a", "if": True, "with": {"x": "${{ steps.a.output }}", "s": "${{ steps.a.state }}"}})}
    )

    assert run.arguments("b") == {"x": None, "s": "SKIPPED"}
    run.succeed("b")
    assert run.state.value == "SUCCEEDED"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"if": "steps.a.output.missing"}, "steps.b.if: `steps.a.output.missing` cannot be computed: there is no `missing`"),
        ({"if": "1 + 1"}, "steps.b.if: a condition is true or false, this is a number"),
        ({"for-each": "${{ steps.a.output.x }}"}, "steps.b.for-each: the items are a list, this is a text"),
        ({"for-each": "${{ steps.a.output.y }}"}, "steps.b.for-each: `steps.a.output.y` cannot be computed"),
        ({"for-each": "${{ steps.a.output.many }}"}, "the list has 10,001 items; at most 10,000"),
        ({"with": {"k": ["${{ steps.a.output.y }}"]}}, "steps.b.with.k[0]: `steps.a.output.y` cannot be computed"),
        ({"with": "${{ steps.a.output.x }}"}, "steps.b.with: the arguments are an object, this is a text"),
        ({"with": {"k": "${{ steps.a.output.big }}", "l": "${{ steps.a.output.big }}"}}, "5.7 MiB as JSON; at most 4 MiB"),
    ],
)
def test_what_cannot_be_computed_fails_the_step_readably(words: dict[str, Any], message: str) -> None:
    run = Simulation(steps(a={}, b={"needs": "a", **words}))

    run.succeed("a", {"x": "text", "many": list(range(10_001)), "big": "x" * 3_000_000})

    assert run.states()["b"] == "FAILED"
    assert run.step_rows["b"].failure is not None
    assert run.step_rows["b"].failure.reason is Reason.INVALID_ARGUMENTS
    assert message in run.step_rows["b"].failure.message
    assert run.state.value == "FAILED"


def test_outputs_that_cannot_be_computed_fail_the_run() -> None:
    run = Simulation({**one(), "outputs": {"r": "${{ steps.a.output.x }}"}})

    run.succeed("a", 5)

    assert run.state.value == "FAILED"
    assert run.run_row.failure is not None
    assert "outputs.r: `steps.a.output.x` cannot be computed: `steps.a.output` is a number" in run.run_row.failure.message


def test_for_each_runs_a_task_for_every_item_and_gathers_in_their_order() -> None:
    run = Simulation({**each(["x", {"y": 1}, "${{ 1 + 2 }}"]), "outputs": {"all": "${{ steps.a.output }}"}})

    assert [run.arguments("a", task) for task in range(3)] == [{"i": "x", "n": 0}, {"i": {"y": 1}, "n": 1}, {"i": 3, "n": 2}]
    for task in (2, 0, 1):
        run.succeed("a", {"task": task}, task=task)

    assert run.run_row.outputs is not None
    assert run.run_row.outputs.value == {"all": [{"task": 0}, {"task": 1}, {"task": 2}]}
    assert next(event.tasks for event in run.events if event.type is EventType.STEP_STARTED) == 3


def test_for_each_keeps_within_max_parallel() -> None:
    run = Simulation(each(list(range(5)), **{"max-parallel": 2, "retry": {"attempts": 2, "delay": "1s"}}))

    assert run.handed_out("a") == [0, 1]
    run.succeed("a", task=1)
    assert run.handed_out("a") == [0, 2]
    run.fail("a", task=0)
    assert run.handed_out("a") == [2]
    run.advance(1)
    assert run.handed_out("a") == [0, 2]


def test_for_each_over_nothing_gives_an_empty_list() -> None:
    run = Simulation({**each([]), "outputs": {"all": "${{ steps.a.output }}"}})

    assert run.run_row.outputs is not None
    assert run.run_row.outputs.value == {"all": []}
    assert run.step_rows["a"].state is StepState.SUCCEEDED


def test_a_failed_task_ends_the_others_of_its_step() -> None:
    run = Simulation(each(list(range(6)), **{"max-parallel": 4, "retry": {"attempts": 2, "delay": "1s"}}))
    run.succeed("a", task=3)
    run.fail("a", task=2)

    decisions = run.fail("a", Reason.INVALID_ARGUMENTS, task=0)

    assert [effect for effect in decisions.effects if isinstance(effect, CancelTask)] == [CancelTask("a", 1, 1), CancelTask("a", 4, 1)]
    assert run.task_rows["a", 2].state is TaskState.CANCELLED
    assert run.states() == {"a": "RUNNING"}
    run.succeed("a", "late but true", task=4)
    run.fail("a", Reason.AGENT_LOST, task=1)
    assert run.states() == {"a": "FAILED"}
    assert [run.task_rows["a", task].state.value for task in range(5)] == ["FAILED", "CANCELLED", "CANCELLED", "SUCCEEDED", "SUCCEEDED"]
    assert ("a", 5) not in run.task_rows
    assert (run.step_rows["a"].tasks_succeeded, run.step_rows["a"].tasks_failed) == (2, 1)


def test_the_outputs_of_a_step_have_a_bound_together() -> None:
    run = Simulation(each(list(range(5))))

    for task in range(4):
        run.succeed("a", "x" * 1_200_000, task=task)

    assert run.task_rows["a", 3].state is TaskState.FAILED
    assert run.step_rows["a"].failure is not None
    assert "larger than 4 MiB" in run.step_rows["a"].failure.message


def test_cancel_ends_what_runs_and_starts_nothing_more() -> None:
    run = Simulation(steps(a={}, b={"needs": "a"}, waits={"retry": {"attempts": 2, "delay": "9s"}}))
    run.fail("waits")

    run.cancel("not needed")

    assert run.state.value == "CANCELLING"
    assert run.cancelled == {("a", 0, 1)}
    assert run.states() == {"a": "RUNNING", "b": "CANCELLED", "waits": "CANCELLED"}
    assert next(event.message for event in run.events if event.type is EventType.RUN_CANCELLING) == "not needed"
    run.confirm_cancels()
    assert run.state.value == "CANCELLED"
    assert run.states() == {"a": "CANCELLED", "b": "CANCELLED", "waits": "CANCELLED"}
    run.advance(60)
    assert run.out == {}


def test_a_result_that_comes_while_cancelling_is_kept() -> None:
    run = Simulation(steps(a={}, b={"needs": "a"}))
    run.cancel()

    run.succeed("a", 5)

    assert run.states() == {"a": "SUCCEEDED", "b": "CANCELLED"}
    assert run.state.value == "CANCELLED"


def test_cancel_twice_changes_nothing_more() -> None:
    run = Simulation(one())
    run.cancel()

    assert run.cancel().events == ()


def test_a_run_that_is_cancelled_after_a_failure_is_cancelled() -> None:
    run = Simulation(steps(a={}, b={}))
    run.fail("a")
    run.cancel()
    run.confirm_cancels()

    assert run.state.value == "CANCELLED"
    assert run.run_row.failure is None


def test_a_run_past_its_timeout_fails_once_all_has_ended() -> None:
    run = Simulation({**steps(a={}, b={"needs": "a"}), "timeout": "30s"})

    run.advance(31)
    assert run.state.value == "CANCELLING"
    run.cancel("too late")
    run.confirm_cancels()

    assert run.state.value == "FAILED"
    assert run.run_row.failure is not None
    assert run.run_row.failure.reason is Reason.DEADLINE_EXCEEDED
    assert "timeout of 30s" in run.run_row.failure.message


def test_after_a_crash_running_attempts_are_redelivered_and_timers_set_again() -> None:
    run = Simulation({**steps(a={}, b={"retry": {"attempts": 2, "delay": "10s"}}, c={"needs": "a"}), "timeout": "1h"})
    run.fail("b")

    run.now += timedelta(seconds=5)
    run.crash()

    assert [(dispatch.step, dispatch.attempt, dispatch.redelivered) for dispatch in run.out.values()] == [("a", 1, True)]
    assert sorted(timer.time for timer in run.timers) == [START + timedelta(seconds=10), START + timedelta(hours=1)]
    run.succeed("a")
    run.advance(5)
    assert not run.out["b", 0, 2].redelivered
    run.succeed("b")
    run.succeed("c")
    assert run.state.value == "SUCCEEDED"
    assert [event.sequence for event in run.events] == list(range(1, len(run.events) + 1))


def test_a_redelivered_task_that_finds_no_capacity_stays_redelivered() -> None:
    run = Simulation(one())
    run.crash()
    run.fail("a", Reason.NO_CAPACITY)
    run.advance(1)

    assert run.out["a", 0, 2].redelivered


def test_only_an_attempt_that_alone_may_have_been_sent_can_be_asked_after() -> None:
    run = Simulation(one())
    fresh = run.out["a", 0, 1]
    run.crash()
    recovered = run.out["a", 0, 1]
    run.fail("a", Reason.NO_CAPACITY)
    run.advance(1)
    later = run.out["a", 0, 2]
    run.crash()
    recovered_later = run.out["a", 0, 2]

    seen = [(dispatch.redelivered, dispatch.resumed) for dispatch in (fresh, recovered, later, recovered_later)]
    assert seen == [(False, False), (True, True), (True, False), (True, False)]


def test_after_a_crash_what_was_being_cancelled_is_cancelled() -> None:
    run = Simulation(each([1, 2, 3]))
    run.cancel()

    run.crash()

    assert run.state.value == "CANCELLED"
    assert run.out == {}


def test_a_run_that_has_ended_changes_no_more() -> None:
    run = Simulation(one())
    run.succeed("a")

    assert run.cancel().effects == ()
    assert run.ends == 1


def test_a_thousand_steps_in_a_row_are_skipped_without_running_out_of_stack() -> None:
    chain: dict[str, Any] = {f"s{n}": {"needs": f"s{n - 1}"} if n else {} for n in range(1000)}
    run = Simulation(steps(**chain))

    run.fail("s0")

    assert run.state.value == "FAILED"


@pytest.mark.timeout(20)
def test_the_cost_of_an_event_does_not_grow_with_the_fan_out() -> None:
    run = Simulation(each(list(range(10_000)), **{"max-parallel": 10_000}))

    ended = [run.decider.decide(run.execution, TaskSucceeded("a", task, 1, Document(b"1")), run.now).effects for task in range(10_000)]

    assert ended[-1] == (RunEnded(),)
    assert not any(ended[:-1])
