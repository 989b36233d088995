"""A world for the decider: it keeps the rows as a store would, hands nothing out by itself, and lets a test say what happens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from parade.wire.errors import Reason
from parade_scheduler.decider import (
    ApprovalResolved,
    CancelChild,
    CancelRequested,
    CancelTask,
    Decider,
    Decisions,
    Dispatch,
    EventReceived,
    Execution,
    Occurrence,
    PauseRequested,
    Recovered,
    ResumeRequested,
    RunEnded,
    SetTimer,
    SignalReceived,
    StartChild,
    Started,
    TaskCancelled,
    TaskFailed,
    TaskSucceeded,
)
from parade_scheduler.document import Document
from parade_scheduler.expression import Expression
from parade_scheduler.language import Definition, StepDefinition, Template, read
from parade_scheduler.model import EventType, Failure, Kind, Run, RunEvent, RunState, Step, Task

START = datetime(2026, 1, 1, tzinfo=UTC)

Key = tuple[str, int, int]
"""Step, task and attempt."""


class Simulation:
    """One run, from its start to its end, in a time that the test moves."""

    def __init__(
        self,
        source: str | dict[str, Any] | Definition,
        inputs: Any = None,
        *,
        jitter: Callable[[], float] = lambda: 0.0,
        state: RunState = RunState.RUNNING,
        secrets: Mapping[str, str] | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        if isinstance(source, dict):
            source = orjson.dumps(source).decode()
        self.definition: Definition = read(source) if isinstance(source, str) else source
        self.decider = Decider(jitter)
        self.now = START
        self.run_row = Run("run-1", "default", self.definition.name, 1, Document.of(inputs or {}), START, state)
        self.secrets = dict(secrets or {})
        self.step_rows: dict[str, Step] = {}
        self.task_rows: dict[tuple[str, int], Task] = {}
        self.events: list[RunEvent] = []
        self.out: dict[Key, Dispatch] = {}
        """What is handed out and not answered yet."""
        self.children: dict[Key, StartChild] = {}
        """What was started and has not ended yet."""
        self._attempts: dict[tuple[str, int], int] = {}
        self.cancelled: set[Key] = set()
        self.timers: list[SetTimer] = []
        self.ends = 0
        self._given: list[tuple[Run | Step | Task, Run | Step | Task]] = []
        self.execution = Execution(self.definition, self.run_row, steps, secrets=self.secrets)
        self.tell(Started())

    def tell(self, occurrence: Occurrence) -> Decisions:
        """Lets something happen."""
        decisions = self.decider.decide(self.execution, occurrence, self.now)
        if decisions.run is not None:
            self._given.append((decisions.run, replace(decisions.run)))
        self._given.extend((step, replace(step)) for step in decisions.steps)
        self._given.extend((task, replace(task)) for task in decisions.tasks)
        self.run_row = decisions.run or self.run_row
        self.step_rows.update({step.id: step for step in decisions.steps})
        self.task_rows.update({(task.step, task.index): task for task in decisions.tasks})
        self.events.extend(decisions.events)
        for effect in decisions.effects:
            match effect:
                case Dispatch() | StartChild():
                    self._hand_out(effect)
                case CancelTask() | CancelChild():
                    self.cancelled.add((effect.step, effect.task, effect.attempt))
                case SetTimer():
                    self.timers.append(effect)
                case RunEnded():
                    self.ends += 1
        return decisions

    def succeed(self, step: str, output: Any = None, *, task: int = 0, attempt: int | None = None) -> Decisions:
        """Answers a task with a result."""
        attempt = attempt or self._attempt(step, task)
        self._take_back(step, task, attempt)
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
        self._take_back(step, task, attempt)
        return self.tell(
            TaskFailed(step, task, attempt, Failure(reason, "no luck", metadata=metadata or {}, retryable=retryable), "instance-1")
        )

    def confirm_cancels(self) -> None:
        """Lets everything end that was to be cancelled."""
        for step, task, attempt in sorted(self.cancelled & (self.out.keys() | self.children.keys())):
            self._take_back(step, task, attempt)
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
        """Loses everything but the rows, and takes the run up again from them. The runs that it has started go on."""
        self.out.clear()
        self._attempts = {key[:2]: key[2] for key in self.children}
        self.cancelled.clear()
        self.timers.clear()
        self.execution = self.from_rows()
        self.tell(Recovered())

    def cancel(self, reason: str = "") -> Decisions:
        """Asks the run to end."""
        return self.tell(CancelRequested(reason))

    def pause(self) -> Decisions:
        """Lets nothing more begin."""
        return self.tell(PauseRequested("spiffe://parade/ana", "lunch"))

    def resume(self) -> Decisions:
        """Lets a paused run go on."""
        return self.tell(ResumeRequested("spiffe://parade/ana"))

    def signal(self, name: str, value: Any = None) -> Decisions:
        """Sends a signal."""
        return self.tell(SignalReceived(name, Document.of(value), "spiffe://parade/ana"))

    def resolve(self, step: str, *, approved: bool, task: int = 0) -> Decisions:
        """Approves or rejects."""
        return self.tell(ApprovalResolved(step, task, approved, "spiffe://parade/ana", "as agreed"))

    def publish(self, type: str, value: Any) -> Decisions:
        """Publishes an event."""
        return self.tell(EventReceived("event-1", type, Document.of(value)))

    def from_rows(self) -> Execution:
        """Makes the run anew from its rows."""
        return Execution(self.definition, self.run_row, self.step_rows.values(), self.task_rows.values(), secrets=self.secrets)

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

    def check_given(self) -> None:
        """Fails where a row has changed after it was given away."""
        assert all(row == as_given for row, as_given in self._given)

    def output(self, step: str) -> Any:
        """Returns what a step gave."""
        output = self.step_rows[step].output
        assert output is not None
        return output.value

    def failure(self) -> Failure:
        """Returns why the run failed."""
        assert self.run_row.failure is not None
        return self.run_row.failure

    def _hand_out(self, effect: Dispatch | StartChild) -> None:
        key = (effect.step, effect.task, effect.attempt)
        before = self._attempts.get(key[:2])
        # A run that a task has started lasts longer than the process that started it.
        again = isinstance(effect, StartChild) and self.children.get(key, effect) == effect
        assert before is None or (again and before == effect.attempt), f"{key} is handed out while attempt {before} is under way"
        self._attempts[key[:2]] = effect.attempt
        if isinstance(effect, Dispatch):
            self.out[key] = effect
        else:
            self.children[key] = effect

    def _take_back(self, step: str, task: int, attempt: int) -> None:
        found = self.out.pop((step, task, attempt), None) or self.children.pop((step, task, attempt), None)
        if found is not None:
            del self._attempts[step, task]

    def _attempt(self, step: str, task: int) -> int:
        return self._attempts[step, task]


def step(id: str, kind: Kind = Kind.CALL, **words: Any) -> StepDefinition:
    """Defines a step; its arguments, which may hold expressions, stand in `given`."""
    call = {Kind.CALL: "x.y", Kind.RUN: "other"}.get(kind, "")
    needs = (*words.pop("needs", ()), *words.get("race", ()))
    return StepDefinition(id, 1, call, Template(words.pop("given", {})), kind=kind, needs=needs, **words)


def flow(*steps: StepDefinition, **facts: Any) -> Definition:
    """Defines a workflow of these steps; what it gives stands in `outputs`."""
    base = read(orjson.dumps({"name": "flow", "steps": {"a": {"call": "x.y"}}}).decode())
    outputs = Template(facts.pop("outputs", {}))
    return replace(base, steps={one.id: one for one in steps}, outputs=outputs, **facts)


def of(text: str) -> Expression:
    """Compiles an expression."""
    return Expression(text)
