"""A run as the decider holds it: its rows, and what is counted from them so that no event costs more because a run is large."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from parade_scheduler.decider.alarms import Alarms
from parade_scheduler.decider.asks import Entries
from parade_scheduler.decider.asks import definition_of as ask_definition
from parade_scheduler.decider.bindings import Bindings
from parade_scheduler.decider.losers import losers
from parade_scheduler.decider.takers import SIGNALS, Signals, Takers
from parade_scheduler.language import Definition, StepDefinition
from parade_scheduler.model import RUN_ENDED, STEP_ENDED, TASK_ENDED, Kind, Run, RunState, Step, StepState, Task, TaskState

MAX_TASKS: Final = 100_000
"""How many steps and tasks a run may have together."""
NO_SECRETS: Final[Mapping[str, str]] = MappingProxyType({})


class Execution:
    """The live state of one run. It is made of its rows alone: the same rows always make an equal execution.

    Attributes:
        definition: The workflow, in the version that the run is pinned to.
        run: The run's row.
        steps: The steps' rows by id, in the order of the definition; then those of compensations, in the order of their beginning.
        tasks: The tasks' rows by step and index; tasks that were not handed out yet have none.
        signals: The signals that nothing has taken yet.
        takers: The tasks that wait for a signal or an event.
        alarms: The times that tasks wait for.
        waiting: How many needs of each step have not ended; of a race those that do not race.
        active: How many tasks of each step are handed out, wait, or are to be tried again.
        output_bytes: How large the outputs of each step's tasks are together.
        broken: The steps that failed or need, directly or through others, one that did.
        lost: The running steps that a race has made useless.
        stopped: The running steps whose tasks were told to end.
        open_steps: How many steps have not ended.
        running: How many tasks are handed out.
        newest_end: When the newest end came that a durable function hears of.
        news: What has ended that it has not heard of: the indexes of tasks, in the order of their ends.
        entries: What its journal says of what has ended.
        size: How many steps and tasks the run has, with those tasks of running steps that are still to come.
        bindings: What expressions see.
    """

    def __init__(
        self,
        definition: Definition,
        run: Run,
        steps: Iterable[Step] = (),
        tasks: Iterable[Task] = (),
        *,
        secrets: Mapping[str, str] = NO_SECRETS,
    ) -> None:
        """Makes a run from its rows; one without step rows is new.

        Args:
            definition: The workflow, in the version that the run is pinned to.
            run: The run's row.
            steps: The rows of its steps.
            tasks: The rows of its tasks and of its signals.
            secrets: The namespace's secrets by name. They are looked at when a task is handed out, and go into no row and no event.
        """
        self.definition = definition
        self.run = run
        self.steps = {
            step.id: Step(step.id, position, step.call, kind=step.kind) for position, step in enumerate(definition.steps.values())
        }
        self.tasks: dict[str, dict[int, Task]] = {step: {} for step in self.steps}
        self.signals = Signals()
        self.takers = Takers()
        self.alarms = Alarms()
        self.waiting = {step.id: _awaited(step) for step in definition.steps.values()}
        self.active = dict.fromkeys(self.steps, 0)
        self.output_bytes = dict.fromkeys(self.steps, 0)
        self.broken: set[str] = set()
        self.lost: set[str] = set()
        self.stopped: set[str] = set()
        self.open_steps = len(self.steps)
        self.running = 0
        self.newest_end: datetime | None = None
        self.news: list[int] = []
        self.entries = Entries()
        self.size = len(self.steps)
        self.bindings = Bindings(definition, run, self.steps, secrets)
        self._restore(steps, tasks)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.run.state in RUN_ENDED

    @property
    def idle(self) -> bool:
        """Whether it goes on only when a time comes, or something from outside: nothing is handed out."""
        return self.running == 0

    def sleeping_until(self) -> datetime | None:
        """Returns when an idle run goes on by itself; None where only something from outside lets it go on."""
        state = self.run.state
        deadline = self.run.deadline if state in (RunState.RUNNING, RunState.PAUSED) else None
        alarm = None if state is RunState.PAUSED else self.alarms.soonest(self.tasks)
        return min((time for time in (deadline, alarm) if time is not None), default=None)

    @property
    def signals_waiting(self) -> int:
        """How many signals are kept that nothing has taken; more than `MAX_SIGNALS` are not accepted."""
        return len(self.signals)

    def definition_of(self, step: str) -> StepDefinition:
        """Returns how a step, or the compensation of one, is defined."""
        return self.definition.steps.get(step) or self.definition.compensations[step]

    def definition_for(self, task: Task) -> StepDefinition:
        """Returns how a task is defined: as its step, unless a durable function has asked for it."""
        return ask_definition(task) if self.is_ask(task) else self.definition_of(task.step)

    def is_ask(self, task: Task) -> bool:
        """Tells whether a durable function has asked for a task."""
        return task.index > 0 and self.definition.durable

    def note_end(self, task: Task, now: datetime) -> datetime:
        """Takes note that something ends that a durable function has asked for, and returns when: no two things end at once."""
        newest = self.newest_end
        self.newest_end = now if newest is None or newest < now else newest + timedelta(microseconds=1)
        self.news.append(task.index)
        return self.newest_end

    def note_heard(self, step: str, heard: datetime | None) -> None:
        """Takes note of the newest end that a durable function has heard of."""
        rows = self.tasks[step]
        self.news = [index for index in self.news if heard is None or (rows[index].ended or heard) > heard]

    def is_stopping(self, step: str) -> bool:
        """Tells whether a running step starts nothing more and only waits for its tasks to end."""
        row = self.steps[step]
        return row.state is StepState.RUNNING and (row.failure is not None or self.run.state is RunState.CANCELLING or step in self.lost)

    def open_tasks(self) -> Iterator[Task]:
        """Yields the tasks that have not ended, by their steps' places and their own."""
        for step, count in self.active.items():
            if count:
                yield from [task for task in self.tasks[step].values() if task.state not in TASK_ENDED]

    def running_task(self, step: str, index: int, attempt: int) -> Task | None:
        """Returns a task of which this very attempt is handed out; None for any other, whose word no longer counts."""
        task = self.tasks.get(step, {}).get(index)
        return task if task is not None and task.state is TaskState.RUNNING and task.attempt == attempt else None

    def waiting_task(self, step: str, index: int, kind: Kind) -> Task | None:
        """Returns a task that waits for what is said; None where there is none."""
        task = self.tasks.get(step, {}).get(index)
        return task if task is not None and task.state is TaskState.WAITING and task.kind is kind else None

    def add(self, step: Step) -> None:
        """Adds a compensation's row."""
        self.steps[step.id] = step
        self.tasks[step.id] = {}
        self.active[step.id] = self.output_bytes[step.id] = 0
        self.size += 1 + step.tasks
        self.open_steps += step.state not in STEP_ENDED

    def note_task(self, task: Task, before: TaskState | None) -> None:
        """Counts a task that has come to another state."""
        self.running += (task.state is TaskState.RUNNING) - (before is TaskState.RUNNING)
        self.alarms.add(task)
        if task.kind is Kind.SIGNAL or task.kind is Kind.EVENT:
            if task.state is TaskState.WAITING:
                self.takers.add(task)
            else:
                self.takers.remove(task)

    def note_broken(self, step: str) -> None:
        """Notes whether a failure lies in or before a step that has ended."""
        state = self.steps[step].state
        definition = self.definition.steps.get(step)
        # A cancelled step ends before what it needs, and nothing is asked about it any more. A race answers for its racers.
        if definition is not None and (
            state is StepState.FAILED
            or (
                state is not StepState.CANCELLED
                and any(needed in self.broken for needed in definition.needs if needed not in definition.race)
            )
        ):
            self.broken.add(step)

    def _restore(self, steps: Iterable[Step], tasks: Iterable[Task]) -> None:
        ended: set[str] = set()
        for row in sorted(steps, key=lambda row: row.position):
            if row.id not in self.steps:
                self.add(row)
                continue
            self.steps[row.id] = row
            self.size += row.tasks
            if row.state in STEP_ENDED:
                ended.add(row.id)
        self.open_steps -= len(ended)
        for task in sorted(tasks, key=lambda task: task.index):
            if task.step == SIGNALS:
                self.signals.restore(task)
                continue
            self.tasks[task.step][task.index] = task
            self.signals.note_request(task.request_id)
            self.output_bytes[task.step] += 0 if task.output is None else len(task.output.data)
            if task.state not in TASK_ENDED:
                self.active[task.step] += 1
                self.note_task(task, None)
        if self.definition.durable:
            self._restore_news()
        if ended:
            self._note_ended(ended)
        if self.run.state in (RunState.RUNNING, RunState.PAUSED):
            found = losers(self.definition, self.steps)
            self.lost.update(step for step in found if self.steps[step].state is StepState.RUNNING)
        self.stopped.update(step for step in self.steps if self.is_stopping(step))

    def _restore_news(self) -> None:
        for step, rows in self.tasks.items():
            ends = sorted((task.ended, task.index) for task in rows.values() if task.ended is not None and self.is_ask(task))
            self.news = [index for _, index in ends]
            self.newest_end = ends[-1][0] if ends else None
            if 0 in rows:
                self.note_heard(step, rows[0].ended)

    def _note_ended(self, ended: Collection[str]) -> None:
        for step in self.definition.in_order:
            if step in ended:
                self.note_broken(step)
                for follower in self.definition.needed_by[step]:
                    self.waiting[follower] -= step not in self.definition.steps[follower].race


def _awaited(step: StepDefinition) -> int:
    """Returns how many steps must have ended before a step is looked at."""
    return len(step.needs) if not step.race else sum(needed not in step.race for needed in step.needs)
