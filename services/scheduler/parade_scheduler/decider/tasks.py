"""What becomes of a task: handed out, tried again, ended. One attempt's outcome counts once, and only while it is the current one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.redaction import masked
from parade_scheduler.decider import outcomes, retries, waits
from parade_scheduler.decider.arguments import arguments
from parade_scheduler.decider.children import child_id
from parade_scheduler.decider.decisions import CancelChild, CancelTask, Dispatch, SetTimer, StartChild
from parade_scheduler.decider.masking import masked_failure
from parade_scheduler.decider.occurrences import NOT_SENT as NOT_SENT  # noqa: PLC0414 - callers name it with what it is said of
from parade_scheduler.decider.occurrences import RetryDue, TaskCancelled, TaskFailed, TaskProgressed, TaskSucceeded, WaitDue
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Failure, Kind, Task, TaskState

_LEAST_TIMEOUT: Final = 0.001


def start(transition: Transition, step: str, index: int) -> None:
    """Hands out a task for the first time, or begins its wait."""
    execution = transition.execution
    definition = execution.definition_of(step)
    if definition.wait is not None:
        waits.begin(transition, definition, index)
        return
    kind = definition.kind
    try:
        given = arguments(execution, step, index)
    except ParadeError as error:
        outcomes.refuse(transition, step, index, kind, Failure.of(error))
        return
    now = transition.now
    if kind is Kind.RUN:
        child = child_id(execution.run.id, step, index, 1)
        task = Task(step, index, TaskState.RUNNING, 1, now, kind=kind, child=child, due=_due(now, definition.timeout))
    else:
        task = Task(step, index, TaskState.RUNNING, 1, now)
    hand_out(transition, transition.new_task(task), given, secrets=execution.bindings.seen)


def succeeded(transition: Transition, occurrence: TaskSucceeded) -> None:
    """Accepts a result."""
    task = transition.execution.running_task(occurrence.step, occurrence.task, occurrence.attempt)
    if task is not None:
        outcomes.succeed(transition, task, occurrence.output, instance_id=occurrence.instance_id)


def failed(transition: Transition, occurrence: TaskFailed) -> None:
    """Decides whether a task whose attempt failed is tried again."""
    execution = transition.execution
    task = execution.running_task(occurrence.step, occurrence.task, occurrence.attempt)
    if task is None:
        return
    if execution.is_stopping(task.step):
        outcomes.cancel(transition, task, instance_id=occurrence.instance_id, uncertain=retries.may_have_run(occurrence.failure))
    else:
        told = execution.bindings.told
        # Who was called may quote what it was given.
        failure = masked_failure(occurrence.failure, told) if told else occurrence.failure
        retries.settle(transition, task, failure, occurrence.instance_id)


def cancelled(transition: Transition, occurrence: TaskCancelled) -> None:
    """Accepts that an attempt has ended because it was cancelled."""
    execution = transition.execution
    task = execution.running_task(occurrence.step, occurrence.task, occurrence.attempt)
    if task is None:
        return
    if execution.is_stopping(task.step):
        outcomes.cancel(transition, task)
    elif task.kind is Kind.RUN:
        # The run was cancelled by its timeout here, or by somebody who asked for that run alone.
        late = task.due is not None and task.due <= transition.now
        timeout = execution.definition_for(task).timeout
        failure = (
            Failure(Reason.DEADLINE_EXCEEDED, f"the run `{task.child}` had not ended after {timeout:g}s")
            if late
            else Failure(Reason.CANCELLED, f"the run `{task.child}` was cancelled")
        )
        retries.settle(transition, task, failure, "")


def progressed(transition: Transition, occurrence: TaskProgressed) -> None:
    """Passes on how far a task is."""
    execution = transition.execution
    if execution.running_task(occurrence.step, occurrence.task, occurrence.attempt) is not None:
        told = execution.bindings.told
        progress = replace(occurrence.progress, message=masked(occurrence.progress.message, told)) if told else occurrence.progress
        transition.event(EventType.TASK_PROGRESS, step=occurrence.step, task=occurrence.task, attempt=occurrence.attempt, progress=progress)


def retry(transition: Transition, occurrence: RetryDue) -> None:
    """Hands out the next attempt of a task that waited for it. In a paused run it goes on waiting."""
    execution = transition.execution
    task = execution.tasks.get(occurrence.step, {}).get(occurrence.task)
    if task is None or task.state is not TaskState.RETRYING or task.attempt != occurrence.attempt or not transition.goes_on:
        return
    attempt = task.attempt + 1
    task = transition.task(task, state=TaskState.RUNNING, attempt=attempt, retry_time=None)
    if task.kind is Kind.RUN:
        child = child_id(execution.run.id, task.step, task.index, attempt)
        transition.task(task, child=child, due=_due(task.started, execution.definition_for(task).timeout))
    hand_out_again(transition, task)


def due(transition: Transition, occurrence: WaitDue) -> None:
    """Ends a wait whose time has come, and cancels a run that has not ended within its timeout."""
    task = transition.execution.tasks.get(occurrence.step, {}).get(occurrence.task)
    if task is None or task.due != occurrence.time:
        return
    if task.state is TaskState.WAITING and transition.goes_on:
        waits.end(transition, task)
    elif task.state is TaskState.RUNNING and not transition.execution.is_stopping(task.step):
        transition.effect(_cancel_child(task, "its timeout has passed"))


def resume(transition: Transition, task: Task) -> None:
    """Sets the timer of a task again that waits in a run that was paused, or whose process is gone."""
    if task.state is TaskState.RETRYING and task.retry_time is not None:
        transition.effect(SetTimer(task.retry_time, RetryDue(task.step, task.index, task.attempt)))
    elif task.state is TaskState.WAITING and task.due is not None:
        transition.effect(SetTimer(task.due, WaitDue(task.step, task.index, task.due)))


def recover(transition: Transition, task: Task) -> None:
    """Takes up a task that a process had which is gone."""
    execution = transition.execution
    if execution.is_stopping(task.step):
        if task.kind is Kind.RUN and task.state is TaskState.RUNNING:
            stop(transition, task)
        else:
            outcomes.cancel(transition, task, uncertain=task.state is TaskState.RUNNING)
    elif task.state is not TaskState.RUNNING:
        resume(transition, task)
    elif task.kind is Kind.RUN:
        hand_out_again(transition, task, announce=False)
    else:
        # The time that nobody led the run is not the function's: its timeout begins anew.
        resumed = not task.uncertain
        task = transition.task(task, uncertain=True, started=transition.now)
        hand_out_again(transition, task, resumed=resumed, announce=False)


def stop(transition: Transition, task: Task) -> None:
    """Ends a task that is no longer wanted: at once where it only waits, otherwise when its attempt has been cancelled."""
    if task.state is TaskState.RETRYING or task.state is TaskState.WAITING:
        outcomes.cancel(transition, task)
    elif task.state is TaskState.RUNNING and task.kind is Kind.RUN:
        stop_child(transition, task)
    elif task.state is TaskState.RUNNING:
        transition.effect(CancelTask(task.step, task.index, task.attempt))


def stop_child(transition: Transition, task: Task) -> None:
    """Cancels the run that a task has started."""
    transition.effect(_cancel_child(task, "the run that started it wants it no more"))


def _due(started: datetime, timeout: float | None) -> datetime | None:
    return None if timeout is None else started + timedelta(seconds=timeout)


def _cancel_child(task: Task, reason: str) -> CancelChild:
    return CancelChild(task.child, reason, task.step, task.index, task.attempt)


def hand_out_again(transition: Transition, task: Task, *, resumed: bool = False, announce: bool = True) -> None:
    """Hands out another attempt, with what the task is given now; `announce` tells of it in the history."""
    try:
        given = arguments(transition.execution, task.step, task.index)
    except ParadeError as error:
        outcomes.fail(transition, task, Failure.of(error))
        return
    hand_out(transition, task, given, resumed=resumed, announce=announce, secrets=transition.execution.bindings.seen)


def hand_out(
    transition: Transition,
    task: Task,
    given: Document,
    *,
    resumed: bool = False,
    announce: bool = True,
    secrets: tuple[str, ...] = (),
) -> None:
    """Hands out an attempt.

    Args:
        transition: What becomes of the run.
        task: The task.
        given: What it is given.
        resumed: Whether the same attempt may have been handed out before, and is the only one.
        announce: Whether to tell of it in the history.
        secrets: Those that are in what it is given.
    """
    step = task.step
    execution = transition.execution
    definition = execution.definition_for(task)
    if announce:
        transition.step(step, attempts=execution.steps[step].attempts + 1)
        transition.event(EventType.TASK_STARTED, step=step, task=task.index, attempt=task.attempt, child=task.child, message=task.name)
    if task.kind is Kind.RUN:
        transition.effect(StartChild(step, task.index, task.attempt, task.child, definition.call, given))
        if task.due is not None:
            transition.effect(SetTimer(task.due, WaitDue(step, task.index, task.due)))
        return
    timeout = definition.timeout
    if timeout is not None:
        timeout = max(_LEAST_TIMEOUT, timeout - (transition.now - task.started).total_seconds())
    affine = execution.definition.durable and not execution.is_ask(task)
    transition.effect(Dispatch(step, task.index, task.attempt, definition.call, given, timeout, task.uncertain, resumed, affine, secrets))
