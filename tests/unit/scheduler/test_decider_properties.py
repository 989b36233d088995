"""Whatever happens to a run, in whatever order, these hold."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parade.wire.errors import Reason
from parade_scheduler.decider import Admitted, Execution, TaskCancelled, TaskFailed, TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.language import Definition
from parade_scheduler.model import RUN_ENDED, STEP_ENDED, TASK_ENDED, EventType, Failure, Kind, RunState, StepState, TaskState
from tests.unit.scheduler.drawn import EVENTS, SIGNALS, definitions
from tests.unit.scheduler.simulation import Key, Simulation

REASONS = [Reason.AGENT_ERROR, Reason.NO_CAPACITY, Reason.AGENT_LOST, Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.OUTCOME_UNKNOWN]
ENDS = {EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED}
BEGINS = {EventType.STEP_STARTED, EventType.TASK_STARTED, EventType.TASK_WAITING}
OTHERS = ["stale", "crash", "duplicate", "confirm", "pause", "outside", "child", "cancel"]
HAPPENINGS = ["answer"] * 5 + ["time"] * 2 + OTHERS
THOROUGH = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def facts(execution: Execution) -> dict[str, Any]:
    """Returns everything that an execution holds."""
    return {name: value for name, value in vars(execution).items() if name not in ("definition", "bindings")}


class Watch:
    """Drives a run by drawn choices and checks what must always hold."""

    def __init__(self, flow: Definition, data: st.DataObject, state: RunState = RunState.RUNNING) -> None:
        self.run = Simulation(flow, jitter=lambda: data.draw(st.floats(0, 0.99)), state=state)
        self.data = data
        self.answered: list[Key] = []
        self.check()

    @property
    def out(self) -> list[Key]:
        return sorted([*self.run.out, *self.run.children])

    def act(self) -> None:
        """Lets one drawn thing happen."""
        run, draw = self.run, self.data.draw
        match draw(st.sampled_from(HAPPENINGS)):
            case "answer" if self.out:
                self.answer(draw(st.sampled_from(self.out)), well=draw(st.integers(0, 3)) > 0)
            case "time":
                run.advance(draw(st.floats(0.1, 30)))
            case "stale" if self.out:
                step, task, attempt = draw(st.sampled_from(self.out))
                other = attempt + draw(st.sampled_from([-1, 1]))
                assert run.tell(TaskSucceeded(step, task, other, Document(b"666"))).events == ()
            case "duplicate" if self.answered:
                self.repeat(draw(st.sampled_from(self.answered)))
            case "crash":
                run.crash()
                self.answered.clear()  # an attempt that was redelivered is answered anew
            case "confirm":
                run.confirm_cancels()
            case "pause":
                if run.state is RunState.PAUSED:
                    run.resume()
                else:
                    run.pause()
            case "outside":
                self.come(draw(st.sampled_from(["signal", "event", "approval", "admission"])))
            case "cancel" if draw(st.integers(0, 3)) == 0:
                run.cancel("drawn")
            case "child" if run.children:
                key = draw(st.sampled_from(sorted(run.children)))
                run.cancelled.add(key)  # somebody cancels that run alone
                run.confirm_cancels()
        self.check()

    def come(self, what: str) -> None:
        """Lets something come from outside."""
        run, draw = self.run, self.data.draw
        match what:
            case "signal":
                run.signal(draw(st.sampled_from(SIGNALS)), draw(st.integers(0, 3)))
            case "event":
                run.publish(draw(st.sampled_from(EVENTS)), draw(st.integers(0, 3)))
            case "approval":
                waiting = [task for task in run.task_rows.values() if task.kind is Kind.APPROVAL and task.state is TaskState.WAITING]
                if waiting:
                    task = draw(st.sampled_from(waiting))
                    run.resolve(task.step, approved=draw(st.booleans()), task=task.index)
            case "admission":
                run.tell(Admitted())

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
        run = self.run
        run.tell(Admitted())
        run.resume()
        for _ in range(500):
            if run.state in RUN_ENDED:
                return
            run.confirm_cancels()
            for key in self.out:
                if key in self.out:
                    self.answer(key, well=True)
            for task in list(run.task_rows.values()):
                if task.state is TaskState.WAITING and task.kind is Kind.APPROVAL:
                    run.resolve(task.step, approved=True, task=task.index)
            for name in SIGNALS:
                run.signal(name, 2)
            for type in EVENTS:
                run.publish(type, 2)
            run.advance(10)
            self.check()
        pytest.fail(f"the run does not end: {run.states()}")

    def check(self) -> None:
        run, definition = self.run, self.run.definition
        assert [event.sequence for event in run.events] == list(range(1, len(run.events) + 1))
        assert run.run_row.last_sequence == len(run.events)
        assert facts(run.execution) == facts(run.from_rows())
        assert list(run.execution.steps) == list(run.from_rows().steps)
        self.check_idleness()
        for step, row in run.step_rows.items():
            tasks = [task for (name, _), task in run.task_rows.items() if name == step]
            assert sum(task.state not in TASK_ENDED for task in tasks) <= run.execution.definition_of(step).max_parallel
            assert len(tasks) <= row.tasks
            if row.state in STEP_ENDED:
                assert all(task.state in TASK_ENDED for task in tasks)
            if row.state in (StepState.RUNNING, StepState.SUCCEEDED) and step in definition.steps:
                needs = [needed for needed in definition.steps[step].needs if needed not in definition.steps[step].race]
                assert all(run.step_rows[needed].state in STEP_ENDED for needed in needs)

    def check_idleness(self) -> None:
        """A run that nothing goes on in waits for something, and says until when."""
        run = self.run
        open_tasks = [task for (step, _), task in run.task_rows.items() if task.state not in TASK_ENDED and step]
        assert run.execution.idle == all(task.state is not TaskState.RUNNING for task in open_tasks)
        if run.state in RUN_ENDED or not run.execution.idle:
            return
        assert open_tasks or run.state in (RunState.PAUSED, RunState.QUEUED)
        until = run.execution.sleeping_until()
        times = [
            time for task in open_tasks if run.state is not RunState.PAUSED for time in (task.retry_time, task.due) if time is not None
        ]
        if run.run_row.deadline is not None and run.state in (RunState.RUNNING, RunState.PAUSED):
            times.append(run.run_row.deadline)
        assert until == min(times, default=None)
        assert until is None or any(timer.time == until for timer in run.timers)

    def check_end(self) -> None:
        run = self.run
        accepted = [(event.step, event.task) for event in run.events if event.type is EventType.TASK_SUCCEEDED]
        assert len(accepted) == len(set(accepted))
        assert run.ends == 1
        assert run.events[-1].type is EventType(f"RUN_{run.run_row.state}")
        assert all(row.state in STEP_ENDED for row in run.step_rows.values())
        assert (run.run_row.failure is not None) == (run.run_row.state is RunState.FAILED)
        run.check_given()
        self.check_order()
        self.check_pauses()
        self.check_compensations()
        for step, row in run.step_rows.items():
            if row.state is StepState.SUCCEEDED and row.kind in (Kind.CALL, Kind.RUN):
                expected = [[step, task] for task in range(row.tasks)] if row.items is not None else [step, row.tasks - 1]
                assert row.output is not None
                assert row.output.value == expected

    def check_order(self) -> None:
        """A step starts after the ends of all that it needs."""
        run = self.run
        ended = {event.step: event.sequence for event in run.events if event.type in ENDS}
        for event in run.events:
            if event.type is EventType.STEP_STARTED and event.step in run.definition.steps:
                definition = run.definition.steps[event.step]
                racing = [ended.get(racer, len(run.events) + 1) for racer in definition.race]
                assert min(racing, default=0) < event.sequence
                assert all(ended[needed] < event.sequence for needed in definition.needs if needed not in definition.race)

    def check_pauses(self) -> None:
        """Nothing begins in a pause."""
        paused = False
        for event in self.run.events:
            assert not (paused and event.type in BEGINS)
            if event.type in (EventType.RUN_PAUSED, EventType.RUN_RESUMED, EventType.RUN_CANCELLING):
                paused = event.type is EventType.RUN_PAUSED

    def check_compensations(self) -> None:
        """What succeeded and can be undone is undone where the run does not succeed: exactly that, one by one, the last first."""
        run = self.run
        succeeded = [event.step for event in run.events if event.type is EventType.STEP_SUCCEEDED]
        undoable = [step for step in succeeded if step in run.definition.steps and run.definition.steps[step].compensation]
        undone = [event.step for event in run.events if event.type is EventType.STEP_STARTED and event.step in run.definition.compensations]
        expected = [] if run.state is RunState.SUCCEEDED else [f"{step}.compensate" for step in reversed(undoable)]
        assert undone == expected
        course = [event.step for event in run.events if event.step in run.definition.compensations and event.type in ENDS]
        assert course == undone
        assert run.kinds().count(EventType.RUN_COMPENSATING) == (1 if undone else 0)


@THOROUGH
@given(definitions(), st.integers(0, 40), st.booleans(), st.booleans(), st.data())
def test_whatever_happens_a_run_ends_and_keeps_its_word(
    flow: Definition,
    actions: int,
    cancel: bool,  # noqa: FBT001 - drawn
    queued: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    watch = Watch(flow, data, RunState.QUEUED if queued else RunState.RUNNING)
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
@given(definitions(kinds=(Kind.CALL, Kind.RUN)), st.data())
def test_without_failures_a_run_succeeds_whatever_the_order(flow: Definition, data: st.DataObject) -> None:
    watch = Watch(flow, data)
    lacking = [one for one in flow.steps.values() if one.loop is not None]

    while watch.out:
        watch.answer(data.draw(st.sampled_from(watch.out)), well=True)
        watch.check()

    assert lacking or watch.run.run_row.state is RunState.SUCCEEDED
    watch.check_end()


@THOROUGH
@given(definitions(), st.integers(1, 30), st.data())
def test_the_same_occurrences_give_the_same_decisions(flow: Definition, actions: int, data: st.DataObject) -> None:
    first, second = Simulation(flow), Simulation(flow)

    for _ in range(actions):
        out = sorted([*first.out, *first.children])
        if not out:
            break
        step, task, attempt = data.draw(st.sampled_from(out))
        lost = data.draw(st.booleans())
        for run in (first, second):
            run.now += timedelta(seconds=1)
            run.signal("go", 1)
            run.succeed(step, [task], task=task, attempt=attempt)
        if lost:
            # One process goes on where the other has to read the rows.
            second.execution = second.from_rows()

    assert first.events == second.events
    assert facts(first.execution) == facts(second.execution)
