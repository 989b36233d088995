"""What becomes of a run as a whole: started, taken up again, asked to end, ended."""

from datetime import timedelta

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import steps, tasks
from parade_scheduler.decider.decisions import RunEnded, SetTimer
from parade_scheduler.decider.occurrences import CancelRequested, TimeoutPassed
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document
from parade_scheduler.model import TASK_ENDED, EventType, Failure, RunState


def start(transition: Transition) -> None:
    """Begins a run."""
    execution = transition.execution
    transition.event(EventType.RUN_STARTED)
    timeout = execution.definition.timeout
    if timeout is not None:
        deadline = transition.now + timedelta(seconds=timeout)
        transition.run(deadline=deadline)
        transition.effect(SetTimer(deadline, TimeoutPassed()))
    for step in execution.steps:
        transition.step(step)  # every step has a row from the beginning
    transition.unsettled.extend(execution.steps)


def recover(transition: Transition) -> None:
    """Takes up a run whose process is gone."""
    execution = transition.execution
    if execution.run.state is RunState.RUNNING and execution.run.deadline is not None:
        transition.effect(SetTimer(execution.run.deadline, TimeoutPassed()))
    for step, rows in execution.tasks.items():
        if execution.active[step]:
            for task in [task for task in rows.values() if task.state not in TASK_ENDED]:
                tasks.recover(transition, task)


def cancel(transition: Transition, occurrence: CancelRequested) -> None:
    """Begins to end a run because somebody asked."""
    if transition.execution.run.state is RunState.RUNNING:
        # What failed before no longer decides how the run ends.
        transition.run(failure=None)
        _stop(transition, occurrence.reason)


def time_out(transition: Transition) -> None:
    """Begins to end a run because its timeout has passed."""
    execution = transition.execution
    if execution.run.state is not RunState.RUNNING:
        return
    message = f"the run's timeout of {execution.definition.timeout:g}s has passed"
    transition.run(failure=execution.run.failure or Failure(Reason.DEADLINE_EXCEEDED, message))
    _stop(transition, message)


def end(transition: Transition) -> None:
    """Ends a run whose steps have all ended."""
    execution = transition.execution
    if execution.open_steps or execution.ended:
        return
    failure = execution.run.failure
    outputs = None
    if failure is None and execution.run.state is RunState.RUNNING:
        try:
            outputs = Document.of(execution.definition.outputs.fill(execution.bindings(), "outputs"))
        except ParadeError as error:
            failure = Failure.of(error)
    if outputs is not None:
        state, kind = RunState.SUCCEEDED, EventType.RUN_SUCCEEDED
    elif failure is not None:
        state, kind = RunState.FAILED, EventType.RUN_FAILED
    else:
        state, kind = RunState.CANCELLED, EventType.RUN_CANCELLED
    transition.run(state=state, outputs=outputs, failure=failure, end_time=transition.now)
    transition.event(kind, output=outputs, failure=failure)
    transition.effect(RunEnded())


def _stop(transition: Transition, reason: str) -> None:
    transition.run(state=RunState.CANCELLING)
    transition.event(EventType.RUN_CANCELLING, message=reason)
    for step in transition.execution.steps:
        steps.cancel(transition, step)
