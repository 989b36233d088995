"""What can happen to a run: everything that the decider is told."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parade_scheduler.document import Document
from parade_scheduler.model import Failure, Progress

NOT_SENT: Final = "not_sent"
"""In the metadata of a failure, `true` where the call certainly did not reach anybody."""


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
    by: str = ""


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Somebody wants nothing more to begin for now."""

    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody wants a paused run to go on."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """The run was sent a signal. It is kept until a step takes it, at most `MAX_SIGNALS` at a time."""

    name: str
    value: Document
    by: str = ""
    request_id: str = ""
    """Names the request: a second signal of the same changes nothing."""


@dataclass(frozen=True, slots=True)
class ApprovalResolved:
    """Somebody approved or rejected what a task waits for."""

    step: str
    task: int
    approved: bool
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class EventReceived:
    """An event was published that a waiting task may want."""

    id: str
    type: str
    value: Document


@dataclass(frozen=True, slots=True)
class WaitDue:
    """The time has come for which a waiting task waits, or after which it waits no more."""

    step: str
    task: int
    time: datetime
    """For when it was set; another wait of the task is not meant."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run's concurrency group lets it begin."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The process that led the run is gone, and with it every attempt it had handed out and every timer."""


Occurrence = (
    Started
    | TaskSucceeded
    | TaskFailed
    | TaskCancelled
    | TaskProgressed
    | RetryDue
    | TimeoutPassed
    | CancelRequested
    | PauseRequested
    | ResumeRequested
    | SignalReceived
    | ApprovalResolved
    | EventReceived
    | WaitDue
    | Admitted
    | Recovered
)
