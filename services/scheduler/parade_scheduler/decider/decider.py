"""Decides what follows from what happened, without I/O, clock or chance of its own.

The same rows, occurrences, times and jitter always give the same decisions. The execution that is given is changed instead of copied:
copying a fan-out of a thousand tasks for every event would cost a million.
"""

from datetime import datetime

from parade_scheduler.backoff import Jitter
from parade_scheduler.decider import runs, steps, tasks
from parade_scheduler.decider.decisions import Decisions
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
from parade_scheduler.decider.transition import Transition


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
        transition = Transition(execution, now)
        if execution.ended:
            return transition.decisions()
        self._apply(transition, occurrence)
        while transition.unsettled:
            steps.advance(transition, transition.unsettled.popleft())
        runs.end(transition)
        return transition.decisions()

    def _apply(self, transition: Transition, occurrence: Occurrence) -> None:
        match occurrence:
            case Started():
                runs.start(transition)
            case TaskSucceeded():
                tasks.succeeded(transition, occurrence)
            case TaskFailed():
                tasks.failed(transition, occurrence, self._jitter)
            case TaskCancelled():
                tasks.cancelled(transition, occurrence)
            case TaskProgressed():
                tasks.progressed(transition, occurrence)
            case RetryDue():
                tasks.retry(transition, occurrence)
            case TimeoutPassed():
                runs.time_out(transition)
            case CancelRequested():
                runs.cancel(transition, occurrence)
            case Recovered():
                runs.recover(transition)
