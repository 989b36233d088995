"""What the decider wants done: rows to write, events to append, and what may leave the process once both are committed.

What every step of a run makes is not frozen, as the rows are not: nobody changes it.
"""

from dataclasses import dataclass, field
from datetime import datetime

from parade_scheduler.decider.occurrences import RetryDue, TimeoutPassed, WaitDue
from parade_scheduler.document import Document
from parade_scheduler.model import Run, RunEvent, Step, Task


@dataclass(slots=True)
class Dispatch:
    """Hand out an attempt of a task. One of TaskSucceeded, TaskFailed and TaskCancelled comes back for it."""

    step: str
    task: int
    attempt: int
    function: str
    """The full name, `agent.function`."""
    arguments: Document = field(repr=False)
    """There may be secrets in it."""
    timeout: float | None
    """The longest to wait, in seconds; None where only the function's own bound applies."""
    redelivered: bool
    """Whether the function may have been called for this task before without the outcome having come back."""
    resumed: bool = False
    """Whether this very attempt is the only one that may have made such a call: its call can be asked after. Another attempt's cannot."""
    affine: bool = False
    """Whether the instance that had the run's last such call is the best to have this one too."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Those that are in the arguments: who is called is told that they are."""


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Cancel an attempt that was handed out. Its outcome is still awaited."""

    step: str
    task: int
    attempt: int


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a run of another workflow for a task, unless it was started before. TaskSucceeded, TaskFailed or TaskCancelled comes back."""

    step: str
    task: int
    attempt: int
    run: str
    """The new run's id. It is made of the task's, so that the same attempt never starts two."""
    workflow: str
    inputs: Document


@dataclass(frozen=True, slots=True)
class CancelChild:
    """Cancel a run that a task has started. The task's outcome is still awaited: TaskCancelled too where there is no such run."""

    run: str
    reason: str
    step: str = ""
    task: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Say `occurrence` when it is `time`."""

    time: datetime
    occurrence: RetryDue | TimeoutPassed | WaitDue


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Nothing more comes of this run."""


Effect = Dispatch | CancelTask | StartChild | CancelChild | SetTimer | RunEnded


@dataclass(slots=True)
class Decisions:
    """What follows from one occurrence. All rows and events belong into one transaction; the effects come after it, in order."""

    run: Run | None = None
    """The run's row, where it changed."""
    steps: tuple[Step, ...] = ()
    """The rows of the steps that changed."""
    tasks: tuple[Task, ...] = ()
    """The rows of the tasks that changed."""
    events: tuple[RunEvent, ...] = ()
    effects: tuple[Effect, ...] = ()
