"""How a task ends: well, badly, or because nobody wants it any more."""

from typing import Any

from parade.wire.errors import Reason
from parade_scheduler.decider.asks import remembered
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import MAX_BYTES, Document
from parade_scheduler.model import EventType, Failure, Kind, Task, TaskState


def succeed(transition: Transition, task: Task, output: Document, *, instance_id: str = "", by: str = "", note: str = "") -> None:
    """Ends a task with a result, unless the results of its step become too large together."""
    execution = transition.execution
    step = task.step
    size = len(output.data)
    if execution.definition_of(step).loop is None:
        size += execution.output_bytes[step]
    else:
        _forget_turn(transition, step, task.index - 1)
    # What a durable function has asked for is held to its bound where the function is given it.
    if size > MAX_BYTES and not execution.definition.durable:
        message = (
            f"the outputs of the tasks of `{step}` together are larger than {MAX_BYTES // 1024 // 1024} MiB; let its function return less"
        )
        fail(transition, task, Failure(Reason.INVALID_ARGUMENTS, message), instance_id=instance_id)
        return
    execution.output_bytes[step] = size
    attempt = task.attempt
    also = _end_of_ask(transition, task)
    transition.task(task, state=TaskState.SUCCEEDED, output=output, instance_id=instance_id, failure=None, due=None, by=by, **also)
    transition.step(step, tasks_succeeded=execution.steps[step].tasks_succeeded + 1)
    transition.event(
        EventType.TASK_SUCCEEDED,
        step=step,
        task=task.index,
        attempt=attempt,
        instance_id=instance_id,
        output=output,
        by=by,
        message=note,
    )


def fail(transition: Transition, task: Task, failure: Failure, *, instance_id: str = "", by: str = "", note: str = "") -> None:
    """Ends a task as failed, and with it its step, unless a durable function has asked for it and hears of it."""
    also = _end_of_ask(transition, task)
    transition.task(task, state=TaskState.FAILED, failure=failure, instance_id=instance_id, due=None, by=by, **also)
    facts = {"instance_id": instance_id, "by": by, "message": note}
    _note_failure(transition, task.step, task.index, task.attempt, failure, fails_step=not also, **facts)


def refuse(transition: Transition, step: str, index: int, kind: Kind, failure: Failure) -> None:
    """Adds a task that cannot begin, and fails its step."""
    transition.new_task(Task(step, index, TaskState.FAILED, 0, transition.now, failure=failure, kind=kind))
    _note_failure(transition, step, index, 0, failure)


def cancel(transition: Transition, task: Task, *, instance_id: str = "", uncertain: bool = False) -> None:
    """Ends a task that is no longer wanted; `uncertain` where its function may have done something all the same."""
    transition.task(
        task, state=TaskState.CANCELLED, retry_time=None, due=None, instance_id=instance_id, uncertain=task.uncertain or uncertain
    )
    transition.event(EventType.TASK_CANCELLED, step=task.step, task=task.index, attempt=task.attempt, instance_id=instance_id)


def _end_of_ask(transition: Transition, task: Task) -> dict[str, Any]:
    """Returns what else changes where a durable function has asked for a task: its place among the ends, and what is kept of it."""
    execution = transition.execution
    if not execution.is_ask(task):
        return {}
    return {"ended": execution.note_end(task, transition.now), "arguments": remembered(task)}


def _note_failure(
    transition: Transition, step: str, index: int, attempt: int, failure: Failure, *, fails_step: bool = True, **facts: str
) -> None:
    row = transition.execution.steps[step]
    transition.step(step, tasks_failed=row.tasks_failed + 1, failure=row.failure or (failure if fails_step else None))
    transition.event(EventType.TASK_FAILED, step=step, task=index, attempt=attempt, failure=failure, **facts)
    transition.unsettled.append(step)


def _forget_turn(transition: Transition, step: str, index: int) -> None:
    """Drops the output of a turn that no further turn sees: a loop of 10,000 turns would hold them all."""
    before = transition.execution.tasks[step].get(index)
    if before is not None and before.output is not None:
        transition.task(before, output=None)
