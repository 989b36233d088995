"""Whatever happens to a run, in whatever order, these hold."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parade.wire.errors import Reason
from parade_scheduler.decider import Execution, TaskCancelled, TaskFailed, TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.model import RUN_ENDED, STEP_ENDED, TASK_ENDED, EventType, Failure, RunState, StepState
from tests.unit.scheduler.simulation import Key, Simulation

CONDITIONS = [None, None, None, True, False, "success", "failure", "success || failure"]
REASONS = [Reason.AGENT_ERROR, Reason.NO_CAPACITY, Reason.AGENT_LOST, Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.OUTCOME_UNKNOWN]


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Draws a workflow whose steps need earlier ones."""
    steps: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 6))):
        words: dict[str, Any] = {"call": "agent.function"}
        needs = draw(st.lists(st.sampled_from(sorted(steps)), unique=True, max_size=3)) if steps else []
        if needs:
            words["needs"] = needs
            words["with"] = {"seen": f"${{{{ steps.{needs[0]}.output }}}}"}
        condition = draw(st.sampled_from(CONDITIONS))
        if condition is not None:
            words["if"] = condition
        if draw(st.booleans()):
            words["for-each"] = list(range(draw(st.integers(0, 5))))
            words["max-parallel"] = draw(st.integers(1, 4))
        if draw(st.booleans()):
            words["retry"] = {"attempts": draw(st.integers(1, 3)), "delay": "2s"}
        if draw(st.booleans()):
            words["timeout"] = "20s"
        steps[f"s{number}"] = words
    flow: dict[str, Any] = {"name": "drawn", "steps": steps, "outputs": {"all": [f"${{{{ steps.{step}.output }}}}" for step in steps]}}
    if draw(st.booleans()):
        flow["timeout"] = "2m"
    return flow


def facts(execution: Execution) -> dict[str, Any]:
    """Returns everything that an execution holds."""
    return {name: value for name, value in vars(execution).items() if name not in ("definition", "bindings")}


class Watch:
    """Drives a run by drawn choices and checks what must always hold."""

    def __init__(self, flow: dict[str, Any], data: st.DataObject) -> None:
        self.run = Simulation(flow, jitter=lambda: data.draw(st.floats(0, 0.99)))
        self.data = data
        self.answered: list[Key] = []
        self.check()

    def act(self) -> None:
        """Lets one drawn thing happen."""
        choices = ["answer", "answer", "answer", "time", "stale", "crash", "duplicate", "confirm"]
        match self.data.draw(st.sampled_from(choices)):
            case "answer" if self.run.out:
                self.answer(self.data.draw(st.sampled_from(sorted(self.run.out))), well=self.data.draw(st.integers(0, 3)) > 0)
            case "time":
                self.run.advance(self.data.draw(st.floats(0.1, 30)))
            case "stale" if self.run.out:
                step, task, attempt = self.data.draw(st.sampled_from(sorted(self.run.out)))
                other = attempt + self.data.draw(st.sampled_from([-1, 1]))
                assert self.run.tell(TaskSucceeded(step, task, other, Document(b"666"))).events == ()
            case "duplicate" if self.answered:
                self.repeat(self.data.draw(st.sampled_from(self.answered)))
            case "crash":
                self.run.crash()
                self.answered.clear()  # an attempt that was redelivered is answered anew
            case "confirm":
                self.run.confirm_cancels()
        self.check()

    def answer(self, key: Key, *, well: bool) -> None:
        step, task, attempt = key
        self.answered.append(key)
        if well:
            self.run.succeed(step, [step, task], task=task, attempt=attempt)
        else:
            self.run.fail(step, self.data.draw(st.sampled_from(REASONS)), task=task, attempt=attempt)

    def repeat(self, key: Key) -> None:
        step, task, attempt = key
        for occurrence in (
            TaskSucceeded(step, task, attempt, Document(b"667")),
            TaskFailed(step, task, attempt, Failure(Reason.AGENT_ERROR, "again")),
            TaskCancelled(step, task, attempt),
        ):
            assert self.run.tell(occurrence).events == ()

    def finish(self) -> None:
        """Answers everything until the run has ended. It must."""
        for _ in range(500):
            if self.run.run_row.state in RUN_ENDED:
                return
            self.run.confirm_cancels()
            for key in sorted(self.run.out):
                if key in self.run.out:
                    self.answer(key, well=True)
            self.run.advance(10)
            self.check()
        pytest.fail(f"the run does not end: {self.run.states()}")

    def check(self) -> None:
        run, definition = self.run, self.run.definition
        assert [event.sequence for event in run.events] == list(range(1, len(run.events) + 1))
        assert run.run_row.last_sequence == len(run.events)
        assert facts(run.execution) == facts(run.from_rows())
        for step, row in run.step_rows.items():
            tasks = [task for (name, _), task in run.task_rows.items() if name == step]
            assert sum(task.state not in TASK_ENDED for task in tasks) <= definition.steps[step].max_parallel
            if row.state in STEP_ENDED:
                assert all(task.state in TASK_ENDED for task in tasks)
            if row.state is not StepState.PENDING and run.run_row.state is RunState.RUNNING:
                assert all(run.step_rows[needed].state in STEP_ENDED for needed in definition.steps[step].needs)

    def check_end(self) -> None:
        run = self.run
        accepted = [(event.step, event.task) for event in run.events if event.type is EventType.TASK_SUCCEEDED]
        assert len(accepted) == len(set(accepted))
        assert run.ends == 1
        assert run.events[-1].type is EventType(f"RUN_{run.run_row.state}")
        assert all(row.state in STEP_ENDED for row in run.step_rows.values())
        assert (run.run_row.failure is not None) == (run.run_row.state is RunState.FAILED)
        started: dict[str, int] = {}
        for place, event in enumerate(run.events):
            if event.type is EventType.STEP_STARTED:
                started[event.step] = place
        for step, place in started.items():
            for needed in run.definition.steps[step].needs:
                ended = next(i for i, e in enumerate(run.events) if e.step == needed and e.type in ENDS)
                assert ended < place
        for step, row in run.step_rows.items():
            if row.state is StepState.SUCCEEDED and row.output is not None:
                expected = [[step, task] for task in range(row.tasks)] if row.items is not None else [step, 0]
                assert row.output.value == expected


ENDS = {EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED}
THOROUGH = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@THOROUGH
@given(definitions(), st.integers(0, 40), st.booleans(), st.data())
def test_whatever_happens_a_run_ends_and_keeps_its_word(flow: dict[str, Any], actions: int, cancel: bool, data: st.DataObject) -> None:  # noqa: FBT001 - drawn
    watch = Watch(flow, data)
    for _ in range(actions):
        watch.act()
    if cancel:
        watch.run.cancel("drawn")
        watch.check()
    watch.finish()

    watch.check_end()
    if cancel and actions == 0 and watch.run.kinds().count(EventType.RUN_CANCELLING):
        assert watch.run.run_row.state is RunState.CANCELLED


@THOROUGH
@given(definitions(), st.data())
def test_without_failures_a_run_succeeds_whatever_the_order(flow: dict[str, Any], data: st.DataObject) -> None:
    flow.pop("timeout", None)
    watch = Watch(flow, data)

    while watch.run.out:
        watch.answer(data.draw(st.sampled_from(sorted(watch.run.out))), well=True)
        watch.check()

    assert watch.run.run_row.state is RunState.SUCCEEDED
    watch.check_end()


@THOROUGH
@given(definitions(), st.integers(1, 30), st.data())
def test_the_same_occurrences_give_the_same_decisions(flow: dict[str, Any], actions: int, data: st.DataObject) -> None:
    first, second = Simulation(flow), Simulation(flow)

    for _ in range(actions):
        if not first.out:
            break
        step, task, attempt = data.draw(st.sampled_from(sorted(first.out)))
        for run in (first, second):
            run.now += timedelta(seconds=1)
            run.succeed(step, [task], task=task, attempt=attempt)

    assert first.events == second.events
    assert facts(first.execution) == facts(second.execution)
