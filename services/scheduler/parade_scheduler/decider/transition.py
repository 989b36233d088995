"""One step of the decider: what it changes, said once and written down for the store."""

from collections import deque
from datetime import datetime
from typing import Any

from parade_scheduler.backoff import Jitter
from parade_scheduler.decider.decisions import Decisions, Effect
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.rows import copy_run, copy_step, copy_task
from parade_scheduler.model import (
    RUN_MOVES,
    STEP_ENDED,
    STEP_MOVES,
    TASK_ENDED,
    TASK_MOVES,
    EventType,
    Run,
    RunEvent,
    RunState,
    Step,
    StepState,
    Task,
    TaskState,
)


class Transition:
    """Changes an execution and keeps account of it. A move that the model does not allow is a fault of the decider and raises.

    A row is copied when it first changes here, and the copy is changed from then on: rows that earlier decisions gave away stay as they
    were.

    Attributes:
        execution: What is changed.
        now: The time of everything that happens in this transition.
        jitter: The chance that spreads retries.
        unsettled: The steps that may have something to do because of what changed.
    """

    __slots__ = ("_effects", "_events", "_run", "_sequence", "_steps", "_tasks", "execution", "jitter", "now", "unsettled")

    def __init__(self, execution: Execution, now: datetime, jitter: Jitter) -> None:
        """Begins with nothing changed."""
        self.execution = execution
        self.now = now
        self.jitter = jitter
        self.unsettled: deque[str] = deque()
        self._run: Run | None = None
        self._sequence = execution.run.last_sequence
        self._steps: dict[str, Step] = {}
        self._tasks: dict[tuple[str, int], Task] = {}
        self._events: list[RunEvent] = []
        self._effects: list[Effect] = []

    @property
    def goes_on(self) -> bool:
        """Whether tasks may be handed out: not where the run is paused, nor where it is being cancelled."""
        state = self.execution.run.state
        return state is RunState.RUNNING or state is RunState.COMPENSATING

    def run(self, **changes: Any) -> Run:
        """Changes the run's row."""
        run = self._run
        if run is None:
            run = self._run = self.execution.run = copy_run(self.execution.run)
        before = run.state
        for name, value in changes.items():
            setattr(run, name, value)
        if run.state is not before and run.state not in RUN_MOVES.get(before, frozenset()):
            raise RuntimeError(f"a run cannot move from {before} to {run.state}")
        return run

    def step(self, step: str, **changes: Any) -> Step:
        """Changes a step's row, and counts it where it ends."""
        row = self._steps.get(step)
        if row is None:
            row = self._steps[step] = self.execution.steps[step] = copy_step(self.execution.steps[step])
        before = row.state
        for name, value in changes.items():
            setattr(row, name, value)
        if row.state is not before:
            self._moved(row, before)
        return row

    def new_step(self, step: Step) -> None:
        """Adds the row of a step that the run did not have from its beginning."""
        self.execution.add(step)
        self._steps[step.id] = step

    def new_task(self, task: Task) -> Task:
        """Adds a task's row."""
        execution = self.execution
        execution.tasks[task.step][task.index] = task
        self._tasks[task.step, task.index] = task
        if task.state not in TASK_ENDED:
            execution.active[task.step] += 1
            execution.note_task(task, None)
        return task

    def task(self, task: Task, **changes: Any) -> Task:
        """Changes a task's row, and counts it where it ends."""
        execution = self.execution
        step, index = task.step, task.index
        row = self._tasks.get((step, index))
        if row is None:
            row = self._tasks[step, index] = execution.tasks[step][index] = copy_task(task)
        before = row.state
        for name, value in changes.items():
            setattr(row, name, value)
        if row.state is not before:
            if row.state not in TASK_MOVES.get(before, frozenset()):
                raise RuntimeError(f"a task cannot move from {before} to {row.state}")
            execution.note_task(row, before)
            if row.state in TASK_ENDED:
                execution.active[step] -= 1
                self.unsettled.append(step)
        return row

    def keep_signal(self, signal: Task) -> None:
        """Adds a signal that nothing takes yet."""
        self.execution.signals.keep(signal)
        self._tasks[signal.step, signal.index] = signal

    def take_signal(self, name: str) -> Task | None:
        """Takes the oldest signal of a name that is kept; None where there is none."""
        signal = self.execution.signals.take(name)
        if signal is not None:
            taken = copy_task(signal)
            taken.state = TaskState.SUCCEEDED
            taken.output = None  # it goes to the task that takes it, and is not held twice
            self._tasks[taken.step, taken.index] = taken
        return signal

    def event(self, kind: EventType, **facts: Any) -> int:
        """Appends an event to the history and returns its sequence number."""
        self._sequence += 1
        self._events.append(RunEvent(self._sequence, self.now, kind, **facts))
        return self._sequence

    def effect(self, effect: Effect) -> None:
        """Asks for something to be done once all is committed."""
        self._effects.append(effect)

    def decisions(self) -> Decisions:
        """Returns everything that changed."""
        if self._events:
            self.run(last_sequence=self._sequence)
        return Decisions(self._run, tuple(self._steps.values()), tuple(self._tasks.values()), tuple(self._events), tuple(self._effects))

    def _moved(self, row: Step, before: StepState) -> None:
        if row.state not in STEP_MOVES.get(before, frozenset()):
            raise RuntimeError(f"a step cannot move from {before} to {row.state}")
        if row.state not in STEP_ENDED:
            return
        execution = self.execution
        execution.open_steps -= 1
        execution.stopped.discard(row.id)
        execution.lost.discard(row.id)
        execution.note_broken(row.id)
        for follower in execution.definition.needed_by.get(row.id, ()):
            if row.id not in execution.definition.steps[follower].race:
                execution.waiting[follower] -= 1
            if execution.waiting[follower] == 0:
                self.unsettled.append(follower)
