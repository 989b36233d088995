"""Compensation: when a run does not succeed, what did is undone, the last first."""

from collections.abc import Iterator
from typing import Final

from parade_scheduler.decider import retries
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.transition import Transition
from parade_scheduler.model import EventType, Failure, Step, StepState, TaskState

UNCERTAIN: Final = "uncertain"
"""In the metadata of a run's failure: the steps that were not undone although they may have done something, by their ids."""
NOT_UNDONE: Final = "not_undone"
"""In the metadata of a run's failure: the steps whose compensation failed, by their ids."""

_TOLD: Final = 5
"""Of so many failed compensations the message tells why."""
_LONGEST: Final = 200


def is_wanted(execution: Execution) -> bool:
    """Tells whether a step has succeeded that can be undone and was not."""
    return any(True for _ in _wanted(execution))


def begin_next(transition: Transition) -> bool:
    """Begins to undo the step that ended last, of those that were not undone; returns whether there was one."""
    execution = transition.execution
    last = max(_wanted(execution), key=lambda row: row.end_sequence, default=None)
    if last is None:
        return False
    definition = execution.definition.steps[last.id].compensation
    assert definition is not None  # noqa: S101 - only such steps are wanted
    transition.new_step(
        Step(
            definition.id,
            len(execution.steps),
            definition.call,
            StepState.RUNNING,
            tasks=1,
            start_time=transition.now,
            kind=definition.kind,
        )
    )
    transition.event(EventType.STEP_STARTED, step=definition.id, tasks=1)
    transition.unsettled.append(definition.id)
    return True


def verdict(execution: Execution, failure: Failure | None) -> Failure | None:
    """Returns why a run failed, with what could not be undone; None where it was cancelled and all that succeeded is undone."""
    failed = [row for row in execution.steps.values() if row.id in execution.definition.compensations and row.failure is not None]
    if failed:
        failure = _with_failed(execution, failure, failed)
    uncertain = [step for step in execution.definition.steps if _is_uncertain(execution, step)]
    if failure is None or not uncertain:
        return failure
    return Failure(
        failure.reason, failure.message, failure.violations, {**failure.metadata, UNCERTAIN: ", ".join(uncertain)}, failure.retryable
    )


def _wanted(execution: Execution) -> Iterator[Step]:
    """Yields the steps to undo. One that was taken over from another run has not ended in this one, and what it did is that run's."""
    for step in execution.definition.steps.values():
        row = execution.steps[step.id]
        has_ended_well = row.state is StepState.SUCCEEDED and row.end_sequence > 0
        if step.compensation is not None and has_ended_well and step.compensation.id not in execution.steps:
            yield row


def _is_uncertain(execution: Execution, step: str) -> bool:
    """Tells whether a step that can be undone did not succeed and may have done something all the same."""
    row = execution.steps[step]
    if execution.definition.steps[step].compensation is None or row.state not in (StepState.FAILED, StepState.CANCELLED):
        return False
    return any(
        task.state is TaskState.SUCCEEDED or task.uncertain or (task.failure is not None and retries.may_have_run(task.failure))
        for task in execution.tasks[step].values()
    )


def _with_failed(execution: Execution, failure: Failure | None, failed: list[Step]) -> Failure:
    undone_by = {step.compensation.id: step.id for step in execution.definition.steps.values() if step.compensation is not None}
    reasons = [row.failure for row in failed if row.failure is not None]
    told = [
        f"`{undone_by[row.id]}` could not be undone: {reason.message[:_LONGEST]}"
        for row, reason in zip(failed[:_TOLD], reasons[:_TOLD], strict=True)
    ]
    if len(failed) > _TOLD:
        told.append(f"{len(failed) - _TOLD} more could not be undone")
    metadata = {NOT_UNDONE: ", ".join(undone_by[row.id] for row in failed)}
    if failure is None:
        return Failure(reasons[0].reason, "; ".join(["the run was cancelled", *told]), (), metadata)
    return Failure(failure.reason, "; ".join([failure.message, *told]), failure.violations, {**failure.metadata, **metadata})
