"""A run as the decider holds it: its rows, and what is counted from them so that no event costs more because a run is large."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from parade_scheduler.language import Definition
from parade_scheduler.model import RUN_ENDED, STEP_ENDED, TASK_ENDED, Run, RunState, Step, StepState, Task, TaskState


class Execution:
    """The live state of one run. It is made of its rows alone: the same rows always make an equal execution.

    Attributes:
        definition: The workflow, in the version that the run is pinned to.
        run: The run's row.
        steps: The steps' rows by id, in the order of the definition.
        tasks: The tasks' rows by step and index; tasks that were not handed out yet have none.
        waiting: How many needs of each step have not ended.
        active: How many tasks of each step are handed out or wait to be tried again.
        output_bytes: How large the outputs of each step's tasks are together.
        broken: The steps that failed or need, directly or through others, one that did.
        stopped: The running steps whose tasks were told to end.
        open_steps: How many steps have not ended.
    """

    def __init__(self, definition: Definition, run: Run, steps: Iterable[Step] = (), tasks: Iterable[Task] = ()) -> None:
        """Makes a run from its rows; one without step rows is new."""
        self.definition = definition
        self.run = run
        stored = {step.id: step for step in steps}
        self.steps = {
            step.id: stored.get(step.id) or Step(step.id, position, step.call) for position, step in enumerate(definition.steps.values())
        }
        self.tasks: dict[str, dict[int, Task]] = {step: {} for step in self.steps}
        for task in sorted(tasks, key=lambda task: task.index):
            self.tasks[task.step][task.index] = task
        ended = {step for step, row in self.steps.items() if row.state in STEP_ENDED}
        self.waiting = {step.id: sum(needed not in ended for needed in step.needs) for step in definition.steps.values()}
        self.active = {step: sum(task.state not in TASK_ENDED for task in rows.values()) for step, rows in self.tasks.items()}
        self.output_bytes = {
            step: sum(len(task.output.data) for task in rows.values() if task.output is not None) for step, rows in self.tasks.items()
        }
        self.broken: set[str] = set()
        for step in self._in_order(ended):
            self.note_broken(step)
        self.stopped = {step for step in self.steps if self.is_stopping(step)}
        self.open_steps = len(self.steps) - len(ended)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.run.state in RUN_ENDED

    def is_stopping(self, step: str) -> bool:
        """Tells whether a running step starts nothing more and only waits for its tasks to end."""
        row = self.steps[step]
        return row.state is StepState.RUNNING and (row.failure is not None or self.run.state is RunState.CANCELLING)

    def running_task(self, step: str, index: int, attempt: int) -> Task | None:
        """Returns a task of which this very attempt is handed out; None for any other, whose word no longer counts."""
        task = self.tasks.get(step, {}).get(index)
        return task if task is not None and task.state is TaskState.RUNNING and task.attempt == attempt else None

    def note_broken(self, step: str) -> None:
        """Notes whether a failure lies in or before a step that has ended."""
        state = self.steps[step].state
        # A cancelled step ends before what it needs, and nothing is asked about it any more.
        if state is StepState.FAILED or (
            state is not StepState.CANCELLED and not self.broken.isdisjoint(self.definition.steps[step].needs)
        ):
            self.broken.add(step)

    def bindings(self) -> dict[str, Any]:
        """Returns what every expression sees."""
        return {"inputs": self.run.inputs.value, "steps": _Steps(self.steps), "run": {"id": self.run.id}}

    def _in_order(self, ended: set[str]) -> Iterator[str]:
        """Yields the steps that have ended, each after those that it needs."""
        missing = {step: len(self.definition.steps[step].needs) for step in self.steps}
        ready = [step for step, count in missing.items() if count == 0]
        while ready:
            step = ready.pop()
            if step in ended:
                yield step
            for follower in self.definition.needed_by[step]:
                missing[follower] -= 1
                if missing[follower] == 0:
                    ready.append(follower)


class _Steps(Mapping[str, Any]):
    """`steps` as expressions see it. An output is decoded only where an expression looks at it."""

    def __init__(self, rows: Mapping[str, Step]) -> None:
        self._rows = rows

    def __getitem__(self, step: str) -> Any:
        row = self._rows[step]
        return {"output": row.output.value if row.output is not None else None, "state": row.state.value}

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
