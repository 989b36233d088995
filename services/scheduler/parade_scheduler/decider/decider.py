"""Decides what follows from what happened, without I/O, clock or chance of its own.

The same rows, occurrences, times and jitter always give the same decisions. The execution that is given is changed instead of copied:
copying a fan-out of a thousand tasks for every event would cost a million.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from parade_scheduler.backoff import Jitter
from parade_scheduler.decider import runs, steps, tasks, turns, waits
from parade_scheduler.decider.decisions import Decisions
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.occurrences import (
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
from parade_scheduler.decider.transition import Transition

_RULES: Final[Mapping[type[Occurrence], Callable[[Transition, Any], None]]] = {
    Started: runs.start,
    Admitted: runs.admit,
    Recovered: runs.recover,
    PauseRequested: runs.pause,
    ResumeRequested: runs.resume,
    CancelRequested: runs.cancel,
    TimeoutPassed: runs.time_out,
    TaskSucceeded: turns.succeeded,
    TaskFailed: tasks.failed,
    TaskCancelled: tasks.cancelled,
    TaskProgressed: tasks.progressed,
    RetryDue: tasks.retry,
    WaitDue: tasks.due,
    SignalReceived: waits.signalled,
    ApprovalResolved: waits.resolved,
    EventReceived: waits.published,
}


class Decider:
    """The rules of runs."""

    def __init__(self, jitter: Jitter) -> None:
        """Takes the chance that spreads retries."""
        self._jitter = jitter

    def decide(self, execution: Execution, occurrence: Occurrence, now: datetime) -> Decisions:
        """Applies what happened to a run.

        Args:
            execution: The run; it is changed.
            occurrence: What happened. What no longer matters, such as the outcome of an attempt that is not current, changes nothing.
            now: The time. It must not run backwards within a run.

        Returns:
            The rows and events to commit, and what to do once they are.
        """
        transition = Transition(execution, now, self._jitter)
        if execution.ended:
            return transition.decisions()
        _RULES[type(occurrence)](transition, occurrence)
        going_on = True
        while going_on:
            while transition.unsettled:
                steps.advance(transition, transition.unsettled.popleft())
            going_on = runs.end(transition)
        return transition.decisions()
