"""What can happen to a run: everything that the decider is told."""

from dataclasses import dataclass

from parade_scheduler.document import Document
from parade_scheduler.model import Failure, Progress


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins."""


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """An attempt of a task gave a result."""

    step: str
    task: int
    attempt: int
    output: Document
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """An attempt of a task gave no result."""

    step: str
    task: int
    attempt: int
    failure: Failure
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """An attempt of a task was cancelled, as it was asked to be, and nothing more comes of it."""

    step: str
    task: int
    attempt: int


@dataclass(frozen=True, slots=True)
class TaskProgressed:
    """An attempt of a task says how far it is."""

    step: str
    task: int
    attempt: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The time has come to try a task again."""

    step: str
    task: int
    attempt: int
    """The attempt that failed."""


@dataclass(frozen=True, slots=True)
class TimeoutPassed:
    """The run's own timeout has passed."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asks the run to end."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The process that led the run is gone, and with it every attempt it had handed out and every timer."""


Occurrence = Started | TaskSucceeded | TaskFailed | TaskCancelled | TaskProgressed | RetryDue | TimeoutPassed | CancelRequested | Recovered
