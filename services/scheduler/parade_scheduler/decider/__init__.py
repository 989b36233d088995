"""The rules of runs, pure: occurrences in, decisions out."""

from parade_scheduler.decider.decider import (
    Decider,
)
from parade_scheduler.decider.decisions import (
    CancelChild,
    CancelTask,
    Decisions,
    Dispatch,
    Effect,
    RunEnded,
    SetTimer,
    StartChild,
)
from parade_scheduler.decider.execution import (
    MAX_TASKS,
    Execution,
)
from parade_scheduler.decider.occurrences import (
    NOT_SENT,
    Admitted,
    ApprovalResolved,
    CancelRequested,
    EventReceived,
    Occurrence,
    PauseRequested,
    Recovered,
    ResumeRequested,
    RetryDue,
    SignalReceived,
    Started,
    TaskCancelled,
    TaskFailed,
    TaskProgressed,
    TaskSucceeded,
    TimeoutPassed,
    WaitDue,
)
from parade_scheduler.decider.takers import MAX_SIGNALS

__all__ = [
    "MAX_SIGNALS",
    "MAX_TASKS",
    "NOT_SENT",
    "Admitted",
    "ApprovalResolved",
    "CancelChild",
    "CancelRequested",
    "CancelTask",
    "Decider",
    "Decisions",
    "Dispatch",
    "Effect",
    "EventReceived",
    "Execution",
    "Occurrence",
    "PauseRequested",
    "Recovered",
    "ResumeRequested",
    "RetryDue",
    "RunEnded",
    "SetTimer",
    "SignalReceived",
    "StartChild",
    "Started",
    "TaskCancelled",
    "TaskFailed",
    "TaskProgressed",
    "TaskSucceeded",
    "TimeoutPassed",
    "WaitDue",
]
