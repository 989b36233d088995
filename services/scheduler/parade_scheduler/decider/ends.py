"""How a step ends."""

from typing import Any

from parade_scheduler.decider.transition import Transition
from parade_scheduler.model import EventType, Failure, RunState, StepState

_LEADING = frozenset({RunState.RUNNING, RunState.PAUSED})
"""Where the failure of a step becomes that of the run."""


def end(transition: Transition, step: str, state: StepState, kind: EventType, changes: dict[str, Any] | None = None, **facts: Any) -> None:
    """Ends a step and tells of it."""
    transition.step(step, state=state, end_time=transition.now, **(changes or {}))
    sequence = transition.event(kind, step=step, **facts)
    if state is StepState.SUCCEEDED and transition.execution.definition_of(step).compensation is not None:
        transition.step(step, end_sequence=sequence)


def fail(transition: Transition, step: str, failure: Failure) -> None:
    """Ends a step as failed. The first failure is the run's own, unless the step raced or undid another one."""
    execution = transition.execution
    run = execution.run
    if run.failure is None and run.state in _LEADING and step not in execution.definition.raced_by:
        message = failure.message if execution.definition.durable else f"the step `{step}` failed: {failure.message}"
        metadata = {**failure.metadata, "step": step}
        transition.run(failure=Failure(failure.reason, message, failure.violations, metadata, failure.retryable))
    end(transition, step, StepState.FAILED, EventType.STEP_FAILED, {"failure": failure}, failure=failure)


def cancel(transition: Transition, step: str) -> None:
    """Ends a step as cancelled."""
    end(transition, step, StepState.CANCELLED, EventType.STEP_CANCELLED)
