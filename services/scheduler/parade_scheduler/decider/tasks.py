"""What becomes of a task: handed out, tried again, ended. One attempt's outcome counts once, and only while it is the current one."""

from datetime import timedelta
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.backoff import OUTAGE, Jitter
from parade_scheduler.decider.decisions import CancelTask, Dispatch, SetTimer
from parade_scheduler.decider.occurrences import RetryDue, TaskCancelled, TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import MAX_BYTES, Document, type_name
from parade_scheduler.model import EventType, Failure, Task, TaskState

OUTAGES: Final = frozenset({Reason.NO_CAPACITY, Reason.UNAVAILABLE, Reason.AGENT_LOST})
"""The mesh could not get the call to an answer. That is no failure of the function and costs no attempt."""
REPEATABLE: Final = frozenset({Reason.DEADLINE_EXCEEDED, Reason.INTERNAL})
"""Failures that another attempt may mend. An AGENT_ERROR is one where it says that it is retryable."""
OUTAGE_LIMIT: Final = timedelta(minutes=10)
"""How long an outage may last where the step has no timeout."""
NOT_SENT: Final = "not_sent"
"""In a failure's metadata, `true` where the call certainly did not reach anybody."""

_LEAST_TIMEOUT: Final = 0.001


def start(transition: Transition, step: str, index: int) -> None:
    """Hands out a task for the first time."""
    try:
        arguments = _arguments(transition, step, index)
    except ParadeError as error:
        failure = Failure.of(error)
        transition.new_task(Task(step, index, TaskState.FAILED, 0, transition.now, failure=failure))
        _note_failure(transition, step, index, 0, failure, "")
        return
    task = transition.new_task(Task(step, index, TaskState.RUNNING, 1, transition.now))
    _hand_out(transition, task, arguments)


def succeeded(transition: Transition, occurrence: TaskSucceeded) -> None:
    """Accepts a result."""
    execution = transition.execution
    step = occurrence.step
    task = execution.running_task(step, occurrence.task, occurrence.attempt)
    if task is None:
        return
    size = execution.output_bytes[step] + len(occurrence.output.data)
    if size > MAX_BYTES:
        failure = Failure(
            Reason.INVALID_ARGUMENTS,
            f"the outputs of the tasks of `{step}` together are larger than {MAX_BYTES // 1024 // 1024} MiB; let its function return less",
        )
        _fail(transition, task, failure, occurrence.instance_id)
        return
    execution.output_bytes[step] = size
    transition.task(task, state=TaskState.SUCCEEDED, output=occurrence.output, instance_id=occurrence.instance_id, failure=None)
    transition.step(step, tasks_succeeded=execution.steps[step].tasks_succeeded + 1)
    transition.event(
        EventType.TASK_SUCCEEDED,
        step=step,
        task=task.index,
        attempt=task.attempt,
        instance_id=occurrence.instance_id,
        output=occurrence.output,
    )


def failed(transition: Transition, occurrence: TaskFailed, jitter: Jitter) -> None:
    """Decides whether a task whose attempt failed is tried again."""
    execution = transition.execution
    task = execution.running_task(occurrence.step, occurrence.task, occurrence.attempt)
    if task is None:
        return
    failure = occurrence.failure
    if execution.is_stopping(task.step):
        transition.task(task, state=TaskState.CANCELLED, instance_id=occurrence.instance_id)
    elif failure.reason in OUTAGES:
        _wait_for_mesh(transition, task, occurrence, jitter)
    elif failure.reason in REPEATABLE or (failure.reason is Reason.AGENT_ERROR and failure.retryable):
        _wait_for_function(transition, task, occurrence, jitter)
    else:
        _fail(transition, task, failure, occurrence.instance_id)


def cancelled(transition: Transition, occurrence: TaskCancelled) -> None:
    """Accepts that an attempt has ended because it was cancelled."""
    task = transition.execution.running_task(occurrence.step, occurrence.task, occurrence.attempt)
    if task is not None and transition.execution.is_stopping(task.step):
        transition.task(task, state=TaskState.CANCELLED)


def progressed(transition: Transition, occurrence: TaskProgressed) -> None:
    """Passes on how far a task is."""
    if transition.execution.running_task(occurrence.step, occurrence.task, occurrence.attempt) is not None:
        transition.event(
            EventType.TASK_PROGRESS, step=occurrence.step, task=occurrence.task, attempt=occurrence.attempt, progress=occurrence.progress
        )


def retry(transition: Transition, occurrence: RetryDue) -> None:
    """Hands out the next attempt of a task that waited for it."""
    task = transition.execution.tasks.get(occurrence.step, {}).get(occurrence.task)
    if task is None or task.state is not TaskState.RETRYING or task.attempt != occurrence.attempt:
        return
    task = transition.task(task, state=TaskState.RUNNING, attempt=task.attempt + 1, retry_time=None)
    _hand_out_again(transition, task)


def recover(transition: Transition, task: Task) -> None:
    """Takes up a task whose attempt was handed out by a process that is gone."""
    stopping = transition.execution.is_stopping(task.step)
    if stopping:
        transition.task(task, state=TaskState.CANCELLED, retry_time=None)
    elif task.state is TaskState.RETRYING and task.retry_time is not None:
        transition.effect(SetTimer(task.retry_time, RetryDue(task.step, task.index, task.attempt)))
    else:
        # The time that nobody led the run is not the function's: its timeout begins anew.
        resumed = not task.uncertain
        task = transition.task(task, uncertain=True, started=transition.now)
        _hand_out_again(transition, task, resumed=resumed, announce=False)


def stop(transition: Transition, task: Task) -> None:
    """Ends a task that is no longer wanted: at once where it only waits, otherwise when its attempt has been cancelled."""
    if task.state is TaskState.RETRYING:
        transition.task(task, state=TaskState.CANCELLED, retry_time=None)
    elif task.state is TaskState.RUNNING:
        transition.effect(CancelTask(task.step, task.index, task.attempt))


def _arguments(transition: Transition, step: str, index: int) -> Document:
    execution = transition.execution
    bindings = execution.bindings()
    items = execution.steps[step].items
    if items is not None:
        bindings["item"] = items.value[index]
        bindings["index"] = index
    value = execution.definition.steps[step].arguments.fill(bindings, f"steps.{step}.with")
    if not isinstance(value, dict):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"steps.{step}.with: the arguments are an object, this is {type_name(value)}")
    return Document.of(value)


def _hand_out_again(transition: Transition, task: Task, *, resumed: bool = False, announce: bool = True) -> None:
    try:
        arguments = _arguments(transition, task.step, task.index)
    except ParadeError as error:
        _fail(transition, task, Failure.of(error), "")
        return
    _hand_out(transition, task, arguments, resumed=resumed, announce=announce)


def _hand_out(transition: Transition, task: Task, arguments: Document, *, resumed: bool = False, announce: bool = True) -> None:
    definition = transition.execution.definition.steps[task.step]
    timeout = definition.timeout
    if timeout is not None:
        timeout = max(_LEAST_TIMEOUT, timeout - (transition.now - task.started).total_seconds())
    if announce:
        transition.step(task.step, attempts=transition.execution.steps[task.step].attempts + 1)
        transition.event(EventType.TASK_STARTED, step=task.step, task=task.index, attempt=task.attempt)
    transition.effect(Dispatch(task.step, task.index, task.attempt, definition.call, arguments, timeout, task.uncertain, resumed))


def _wait_for_mesh(transition: Transition, task: Task, occurrence: TaskFailed, jitter: Jitter) -> None:
    failure = occurrence.failure
    timeout = transition.execution.definition.steps[task.step].timeout
    outage_started = task.outage_started or transition.now
    limit = outage_started + OUTAGE_LIMIT if timeout is None else task.started + timedelta(seconds=timeout)
    retry_time = transition.now + timedelta(seconds=OUTAGE.seconds(task.outages + 1, jitter))
    if retry_time >= limit:
        _fail(transition, task, failure, occurrence.instance_id)
        return
    sent = failure.reason is Reason.UNAVAILABLE and failure.metadata.get(NOT_SENT) != "true"
    task = transition.task(
        task,
        state=TaskState.RETRYING,
        outages=task.outages + 1,
        outage_started=outage_started,
        uncertain=task.uncertain or sent,
        retry_time=retry_time,
        instance_id=occurrence.instance_id,
        failure=failure,
    )
    _announce_retry(transition, task)


def _wait_for_function(transition: Transition, task: Task, occurrence: TaskFailed, jitter: Jitter) -> None:
    policy = transition.execution.definition.steps[task.step].retry
    failures = task.failures + 1
    if failures >= policy.attempts:
        _fail(transition, task, occurrence.failure, occurrence.instance_id)
        return
    retry_time = transition.now + timedelta(seconds=policy.backoff.seconds(failures, jitter))
    task = transition.task(
        task,
        state=TaskState.RETRYING,
        failures=failures,
        started=retry_time,
        outages=0,
        outage_started=None,
        uncertain=False,
        retry_time=retry_time,
        instance_id=occurrence.instance_id,
        failure=occurrence.failure,
    )
    _announce_retry(transition, task)


def _announce_retry(transition: Transition, task: Task) -> None:
    transition.event(
        EventType.TASK_RETRYING,
        step=task.step,
        task=task.index,
        attempt=task.attempt,
        instance_id=task.instance_id,
        failure=task.failure,
        retry_time=task.retry_time,
    )
    assert task.retry_time is not None  # noqa: S101 - every caller has just set it
    transition.effect(SetTimer(task.retry_time, RetryDue(task.step, task.index, task.attempt)))


def _fail(transition: Transition, task: Task, failure: Failure, instance_id: str) -> None:
    """Ends a task, and with it its step, as failed."""
    transition.task(task, state=TaskState.FAILED, failure=failure, instance_id=instance_id)
    _note_failure(transition, task.step, task.index, task.attempt, failure, instance_id)


def _note_failure(transition: Transition, step: str, index: int, attempt: int, failure: Failure, instance_id: str) -> None:
    row = transition.execution.steps[step]
    transition.step(step, tasks_failed=row.tasks_failed + 1, failure=row.failure or failure)
    transition.event(EventType.TASK_FAILED, step=step, task=index, attempt=attempt, instance_id=instance_id, failure=failure)
    transition.unsettled.append(step)
