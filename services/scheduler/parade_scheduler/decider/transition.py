"""One step of the decider: what it changes, said once and written down for the store."""

from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import Any

from parade_scheduler.decider.decisions import Decisions, Effect
from parade_scheduler.decider.execution import Execution
from parade_scheduler.model import (
    RUN_MOVES,
    STEP_ENDED,
    STEP_MOVES,
    TASK_ENDED,
    TASK_MOVES,
    EventType,
    Run,
    RunEvent,
    Step,
    Task,
)


class Transition:
    """Changes an execution and keeps account of it. A move that the model does not allow is a fault of the decider and raises.

    Attributes:
        execution: What is changed.
        now: The time of everything that happens in this transition.
        unsettled: The steps that may have something to do because of what changed.
    """

    def __init__(self, execution: Execution, now: datetime) -> None:
        """Begins with nothing changed."""
        self.execution = execution
        self.now = now
        self.unsettled: deque[str] = deque()
        self._run_before = execution.run
        self._steps: dict[str, None] = {}
        self._tasks: dict[tuple[str, int], None] = {}
        self._events: list[RunEvent] = []
        self._effects: list[Effect] = []

    def run(self, **changes: Any) -> Run:
        """Changes the run's row."""
        before = self.execution.run
        after = replace(before, **changes)
        if after.state is not before.state and after.state not in RUN_MOVES.get(before.state, frozenset()):
            raise RuntimeError(f"a run cannot move from {before.state} to {after.state}")
        self.execution.run = after
        return after

    def step(self, step: str, **changes: Any) -> Step:
        """Changes a step's row, and counts it where it ends."""
        execution = self.execution
        before = execution.steps[step]
        after = replace(before, **changes)
        execution.steps[step] = after
        self._steps[step] = None
        if after.state is before.state:
            return after
        if after.state not in STEP_MOVES.get(before.state, frozenset()):
            raise RuntimeError(f"a step cannot move from {before.state} to {after.state}")
        if after.state in STEP_ENDED:
            execution.open_steps -= 1
            execution.stopped.discard(step)
            execution.note_broken(step)
            for follower in execution.definition.needed_by[step]:
                execution.waiting[follower] -= 1
                if execution.waiting[follower] == 0:
                    self.unsettled.append(follower)
        return after

    def new_task(self, task: Task) -> Task:
        """Adds a task's row."""
        self.execution.tasks[task.step][task.index] = task
        self._tasks[task.step, task.index] = None
        if task.state not in TASK_ENDED:
            self.execution.active[task.step] += 1
        return task

    def task(self, before: Task, **changes: Any) -> Task:
        """Changes a task's row, and counts it where it ends."""
        after = replace(before, **changes)
        if after.state is not before.state:
            if after.state not in TASK_MOVES.get(before.state, frozenset()):
                raise RuntimeError(f"a task cannot move from {before.state} to {after.state}")
            if after.state in TASK_ENDED:
                self.execution.active[after.step] -= 1
                self.unsettled.append(after.step)
        self.execution.tasks[after.step][after.index] = after
        self._tasks[after.step, after.index] = None
        return after

    def event(self, kind: EventType, **facts: Any) -> None:
        """Appends an event to the history."""
        sequence = self.execution.run.last_sequence + 1
        self.run(last_sequence=sequence)
        self._events.append(RunEvent(sequence, self.now, kind, **facts))

    def effect(self, effect: Effect) -> None:
        """Asks for something to be done once all is committed."""
        self._effects.append(effect)

    def decisions(self) -> Decisions:
        """Returns everything that changed."""
        execution = self.execution
        return Decisions(
            run=execution.run if execution.run is not self._run_before else None,
            steps=tuple(execution.steps[step] for step in self._steps),
            tasks=tuple(execution.tasks[step][index] for step, index in self._tasks),
            events=tuple(self._events),
            effects=tuple(self._effects),
        )
