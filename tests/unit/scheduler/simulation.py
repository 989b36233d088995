"""A world for the decider: it keeps the rows as a store would, hands nothing out by itself, and lets a test say what happens."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from parade.wire.errors import Reason
from parade_scheduler.decider import (
    CancelRequested,
    CancelTask,
    Decider,
    Decisions,
    Dispatch,
    Execution,
    Occurrence,
    Recovered,
    RunEnded,
    SetTimer,
    Started,
    TaskCancelled,
    TaskFailed,
    TaskSucceeded,
)
from parade_scheduler.document import Document
from parade_scheduler.language import Definition, read
from parade_scheduler.model import EventType, Failure, Run, RunEvent, RunState, Step, Task

START = datetime(2026, 1, 1, tzinfo=UTC)

Key = tuple[str, int, int]
"""Step, task and attempt."""


class Simulation:
    """One run, from its start to its end, in a time that the test moves."""

    def __init__(self, source: str | dict[str, Any], inputs: Any = None, *, jitter: Callable[[], float] = lambda: 0.0) -> None:
        text = source if isinstance(source, str) else orjson.dumps(source).decode()
        self.definition: Definition = read(text)
        self.decider = Decider(jitter)
        self.now = START
        self.run_row = Run("run-1", "default", self.definition.name, 1, Document.of(inputs or {}), START)
        self.step_rows: dict[str, Step] = {}
        self.task_rows: dict[tuple[str, int], Task] = {}
        self.events: list[RunEvent] = []
        self.out: dict[Key, Dispatch] = {}
        """What is handed out and not answered yet."""
        self.cancelled: set[Key] = set()
        self.timers: list[SetTimer] = []
        self.ends = 0
        self.execution = Execution(self.definition, self.run_row)
        self.tell(Started())

    def tell(self, occurrence: Occurrence) -> Decisions:
        """Lets something happen."""
        decisions = self.decider.decide(self.execution, occurrence, self.now)
        self.run_row = decisions.run or self.run_row
        self.step_rows.update({step.id: step for step in decisions.steps})
        self.task_rows.update({(task.step, task.index): task for task in decisions.tasks})
        self.events.extend(decisions.events)
        for effect in decisions.effects:
            match effect:
                case Dispatch():
                    self.out[effect.step, effect.task, effect.attempt] = effect
                case CancelTask():
                    self.cancelled.add((effect.step, effect.task, effect.attempt))
                case SetTimer():
                    self.timers.append(effect)
                case RunEnded():
                    self.ends += 1
        return decisions

    def succeed(self, step: str, output: Any = None, *, task: int = 0, attempt: int | None = None) -> Decisions:
        """Answers a task with a result."""
        attempt = attempt or self._attempt(step, task)
        self.out.pop((step, task, attempt), None)
        return self.tell(TaskSucceeded(step, task, attempt, Document.of(output), "instance-1"))

    def fail(
        self,
        step: str,
        reason: Reason = Reason.AGENT_ERROR,
        *,
        task: int = 0,
        attempt: int | None = None,
        retryable: bool = True,
        metadata: dict[str, str] | None = None,
    ) -> Decisions:
        """Answers a task with a failure."""
        attempt = attempt or self._attempt(step, task)
        self.out.pop((step, task, attempt), None)
        return self.tell(
            TaskFailed(step, task, attempt, Failure(reason, "no luck", metadata=metadata or {}, retryable=retryable), "instance-1")
        )

    def confirm_cancels(self) -> None:
        """Lets everything end that was to be cancelled."""
        for step, task, attempt in sorted(self.cancelled & self.out.keys()):
            del self.out[step, task, attempt]
            self.tell(TaskCancelled(step, task, attempt))

    def advance(self, seconds: float) -> None:
        """Lets time pass, and the timers that are due ring in order."""
        until = self.now + timedelta(seconds=seconds)
        while due := sorted((timer for timer in self.timers if timer.time <= until), key=lambda timer: timer.time):
            self.timers.remove(due[0])
            self.now = max(self.now, due[0].time)
            self.tell(due[0].occurrence)
        self.now = until

    def crash(self) -> None:
        """Loses everything but the rows, and takes the run up again from them."""
        self.out.clear()
        self.cancelled.clear()
        self.timers.clear()
        self.execution = self.from_rows()
        self.tell(Recovered())

    def cancel(self, reason: str = "") -> Decisions:
        """Asks the run to end."""
        return self.tell(CancelRequested(reason))

    def from_rows(self) -> Execution:
        """Makes the run anew from its rows."""
        return Execution(self.definition, self.run_row, self.step_rows.values(), self.task_rows.values())

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return self.run_row.state

    def states(self) -> dict[str, str]:
        """Returns where every step stands."""
        return {step: row.state.value for step, row in self.execution.steps.items()}

    def kinds(self) -> list[EventType]:
        """Returns the history's events by their type."""
        return [event.type for event in self.events]

    def handed_out(self, step: str) -> list[int]:
        """Returns which tasks of a step are handed out."""
        return sorted(task for name, task, _ in self.out if name == step)

    def arguments(self, step: str, task: int = 0) -> Any:
        """Returns what a task that is handed out was given."""
        return self.out[step, task, self._attempt(step, task)].arguments.value

    def _attempt(self, step: str, task: int) -> int:
        return next(attempt for name, index, attempt in self.out if (name, index) == (step, task))
