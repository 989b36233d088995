"""What becomes of a run as a whole: started, taken up again, paused, asked to end, ended."""

from datetime import timedelta

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import compensation, steps, tasks, turns
from parade_scheduler.decider.arguments import encoded
from parade_scheduler.decider.decisions import RunEnded, SetTimer
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.occurrences import (
    Admitted,
    CancelRequested,
    PauseRequested,
    Recovered,
    ResumeRequested,
    Started,
    TimeoutPassed,
)
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document
from parade_scheduler.model import STEP_ENDED, EventType, Failure, RunState

_LED = frozenset({RunState.RUNNING, RunState.PAUSED})


def start(transition: Transition, _occurrence: Started) -> None:
    """Begins a run, or lets it wait for its concurrency group."""
    for step in transition.execution.steps:
        transition.step(step)  # every step has a row from the beginning
    if transition.execution.run.state is RunState.QUEUED:
        transition.event(EventType.RUN_QUEUED)
    else:
        _begin(transition)


def admit(transition: Transition, _occurrence: Admitted) -> None:
    """Begins a run that has waited."""
    if transition.execution.run.state is RunState.QUEUED:
        transition.run(state=RunState.RUNNING)
        _begin(transition)


def recover(transition: Transition, _occurrence: Recovered) -> None:
    """Takes up a run whose process is gone."""
    execution = transition.execution
    if execution.run.state in _LED and execution.run.deadline is not None:
        transition.effect(SetTimer(execution.run.deadline, TimeoutPassed()))
    for task in list(execution.open_tasks()):
        tasks.recover(transition, task)
    if execution.definition.durable:
        turns.recover(transition)


def pause(transition: Transition, occurrence: PauseRequested) -> None:
    """Lets nothing more begin."""
    if transition.execution.run.state is RunState.RUNNING:
        transition.run(state=RunState.PAUSED)
        transition.event(EventType.RUN_PAUSED, by=occurrence.by, message=occurrence.reason)


def resume(transition: Transition, occurrence: ResumeRequested) -> None:
    """Lets a paused run go on, with everything whose time came meanwhile."""
    execution = transition.execution
    if execution.run.state is not RunState.PAUSED:
        return
    transition.run(state=RunState.RUNNING)
    transition.event(EventType.RUN_RESUMED, by=occurrence.by)
    for task in list(execution.open_tasks()):
        tasks.resume(transition, task)
    transition.unsettled.extend(step for step, row in execution.steps.items() if row.state not in STEP_ENDED)


def cancel(transition: Transition, occurrence: CancelRequested) -> None:
    """Begins to end a run because somebody asked."""
    state = transition.execution.run.state
    if state in _LED:
        # What failed before no longer decides how the run ends.
        transition.run(failure=None)
        _stop(transition, occurrence.reason, occurrence.by)
    elif state is RunState.QUEUED:
        transition.event(EventType.RUN_CANCELLING, message=occurrence.reason, by=occurrence.by)
        _cancel_steps(transition)


def time_out(transition: Transition, _occurrence: TimeoutPassed) -> None:
    """Begins to end a run because its timeout has passed."""
    execution = transition.execution
    if execution.run.state not in _LED:
        return
    message = f"the run's timeout of {execution.definition.timeout:g}s has passed"
    transition.run(failure=execution.run.failure or Failure(Reason.DEADLINE_EXCEEDED, message))
    _stop(transition, message)


def end(transition: Transition) -> bool:
    """Ends a run whose steps have all ended, once what must be undone is. Returns whether something more was begun instead."""
    execution = transition.execution
    if execution.open_steps:
        return False
    state, failure = execution.run.state, execution.run.failure
    if state is RunState.PAUSED or execution.ended:
        return False
    if failure is None and state is RunState.RUNNING:
        try:
            outputs = _outputs(execution)
        except ParadeError as error:
            failure = Failure.of(error)
        else:
            transition.run(state=RunState.SUCCEEDED, outputs=outputs, end_time=transition.now)
            transition.event(EventType.RUN_SUCCEEDED, output=outputs)
            transition.effect(RunEnded())
            return False
    return _undo(transition, failure)


def _outputs(execution: Execution) -> Document:
    """Returns what the run gives: an object, or whatever a durable function has returned.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it cannot be computed.
    """
    definition = execution.definition
    if definition.durable:
        return execution.steps[turns.MAIN].output or Document(b"null")
    return encoded(definition.outputs, execution.steps, execution.bindings.recorded, "outputs")


def _undo(transition: Transition, failure: Failure | None) -> bool:
    """Begins to undo one step more, or ends the run."""
    execution = transition.execution
    if execution.run.state is not RunState.COMPENSATING and compensation.is_wanted(execution):
        transition.run(state=RunState.COMPENSATING, failure=failure)
        transition.event(EventType.RUN_COMPENSATING, failure=failure)
    if compensation.begin_next(transition):
        return True
    failure = compensation.verdict(execution, failure)
    state, kind = (RunState.CANCELLED, EventType.RUN_CANCELLED) if failure is None else (RunState.FAILED, EventType.RUN_FAILED)
    transition.run(state=state, failure=failure, end_time=transition.now)
    transition.event(kind, failure=failure)
    transition.effect(RunEnded())
    return False


def _begin(transition: Transition) -> None:
    execution = transition.execution
    transition.event(EventType.RUN_STARTED)
    timeout = execution.definition.timeout
    if timeout is not None:
        deadline = transition.now + timedelta(seconds=timeout)
        transition.run(deadline=deadline)
        transition.effect(SetTimer(deadline, TimeoutPassed()))
    transition.unsettled.extend(execution.steps)


def _stop(transition: Transition, reason: str, by: str = "") -> None:
    transition.run(state=RunState.CANCELLING)
    transition.event(EventType.RUN_CANCELLING, message=reason, by=by)
    transition.execution.lost.clear()
    _cancel_steps(transition)


def _cancel_steps(transition: Transition) -> None:
    for step in list(transition.execution.steps):
        steps.cancel(transition, step)
