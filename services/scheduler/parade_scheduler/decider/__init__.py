"""The rules of runs, pure: occurrences in, decisions out."""

from parade_scheduler.decider.decider import Decider
from parade_scheduler.decider.decisions import CancelTask, Decisions, Dispatch, Effect, RunEnded, SetTimer
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.occurrences import (
    CancelRequested,
    Occurrence,
    Recovered,
    RetryDue,
    Started,
    TaskCancelled,
    TaskFailed,
    TaskProgressed,
    TaskSucceeded,
    TimeoutPassed,
)

__all__ = [
    "CancelRequested",
    "CancelTask",
    "Decider",
    "Decisions",
    "Dispatch",
    "Effect",
    "Execution",
    "Occurrence",
    "Recovered",
    "RetryDue",
    "RunEnded",
    "SetTimer",
    "Started",
    "TaskCancelled",
    "TaskFailed",
    "TaskProgressed",
    "TaskSucceeded",
    "TimeoutPassed",
]
