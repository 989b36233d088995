"""What becomes of a step: skipped, started, kept busy, ended."""

from typing import Any, Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import tasks
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document, type_name
from parade_scheduler.language import MAX_ITEMS, computed
from parade_scheduler.model import EventType, Failure, RunState, Step, StepState

_WORDS: Final = {StepState.FAILED: "failed", StepState.SKIPPED: "was skipped", StepState.CANCELLED: "was cancelled"}


def advance(transition: Transition, step: str) -> None:
    """Does whatever a step has to do now."""
    execution = transition.execution
    match execution.steps[step].state:
        case StepState.PENDING if execution.waiting[step] == 0 and execution.run.state is RunState.RUNNING:
            _begin(transition, step)
        case StepState.RUNNING:
            _go_on(transition, step)


def cancel(transition: Transition, step: str) -> None:
    """Ends a step because the run ends: at once where it has not started, otherwise with its last task."""
    match transition.execution.steps[step].state:
        case StepState.PENDING:
            _end(transition, step, StepState.CANCELLED, EventType.STEP_CANCELLED)
        case StepState.RUNNING:
            _go_on(transition, step)


def _begin(transition: Transition, step: str) -> None:
    try:
        obstacle = _obstacle(transition, step)
        items = None if obstacle else _items(transition, step)
    except ParadeError as error:
        _fail(transition, step, Failure.of(error))
        return
    if obstacle:
        _end(transition, step, StepState.SKIPPED, EventType.STEP_SKIPPED, message=obstacle)
        return
    count = 1 if items is None else len(items.value)
    transition.step(step, state=StepState.RUNNING, tasks=count, items=items, start_time=transition.now)
    transition.event(EventType.STEP_STARTED, step=step, tasks=count)
    _go_on(transition, step)


def _go_on(transition: Transition, step: str) -> None:
    execution = transition.execution
    row = execution.steps[step]
    if execution.is_stopping(step):
        _stop(transition, step)
    else:
        rows = execution.tasks[step]
        while len(rows) < row.tasks and execution.active[step] < execution.definition.steps[step].max_parallel:
            tasks.start(transition, step, len(rows))
            if execution.is_stopping(step):
                _stop(transition, step)
                break
    row = execution.steps[step]
    if execution.active[step] == 0 and (row.tasks_succeeded == row.tasks or execution.is_stopping(step)):
        _conclude(transition, row)


def _stop(transition: Transition, step: str) -> None:
    execution = transition.execution
    if step not in execution.stopped:
        execution.stopped.add(step)
        for task in list(execution.tasks[step].values()):
            tasks.stop(transition, task)


def _conclude(transition: Transition, row: Step) -> None:
    """Ends a step none of whose tasks is under way."""
    if row.failure is not None:
        _fail(transition, row.id, row.failure)
    elif row.tasks_succeeded < row.tasks:
        _end(transition, row.id, StepState.CANCELLED, EventType.STEP_CANCELLED)
    else:
        output = _output(transition, row)
        _end(transition, row.id, StepState.SUCCEEDED, EventType.STEP_SUCCEEDED, {"output": output}, output=output)


def _output(transition: Transition, row: Step) -> Document | None:
    rows = transition.execution.tasks[row.id]
    if row.items is None:
        return rows[0].output
    # Tasks are handed out in the order of their items, so their rows stand in it.
    return Document.joined(task.output for task in rows.values() if task.output is not None)


def _fail(transition: Transition, step: str, failure: Failure) -> None:
    run = transition.execution.run
    if run.failure is None and run.state is RunState.RUNNING:
        message = f"the step `{step}` failed: {failure.message}"
        metadata = {**failure.metadata, "step": step}
        transition.run(failure=Failure(failure.reason, message, failure.violations, metadata, failure.retryable))
    _end(transition, step, StepState.FAILED, EventType.STEP_FAILED, {"failure": failure}, failure=failure)


def _end(transition: Transition, step: str, state: StepState, kind: EventType, changes: dict[str, Any] | None = None, **facts: Any) -> None:
    transition.step(step, state=state, end_time=transition.now, **(changes or {}))
    transition.event(kind, step=step, **facts)


def _obstacle(transition: Transition, step: str) -> str:
    """Returns why a step is skipped; an empty text where it is not.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where its condition cannot be computed.
    """
    execution = transition.execution
    definition = execution.definition.steps[step]
    missed = next((needed for needed in definition.needs if execution.steps[needed].state is not StepState.SUCCEEDED), None)
    if missed is not None and not definition.decides_alone:
        return f"`{missed}`, which it needs, {_WORDS[execution.steps[missed].state]}"
    if definition.condition is None:
        return ""
    met = definition.condition
    if not isinstance(met, bool):
        place = f"steps.{step}.if"
        bindings = execution.bindings()
        bindings["success"] = missed is None
        bindings["failure"] = not execution.broken.isdisjoint(definition.needs)
        met = computed(met, bindings, place)
        if not isinstance(met, bool):
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: a condition is true or false, this is {type_name(met)}")
    return "" if met else "its `if` is false"


def _items(transition: Transition, step: str) -> Document | None:
    """Returns the items of a for-each; None where the step has none.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where they cannot be computed, are no list, or are too many.
    """
    execution = transition.execution
    template = execution.definition.steps[step].items
    if template is None:
        return None
    place = f"steps.{step}.for-each"
    items = template.fill(execution.bindings(), place)
    if not isinstance(items, list):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: the items are a list, this is {type_name(items)}")
    if len(items) > MAX_ITEMS:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: the list has {len(items):,} items; at most {MAX_ITEMS:,}")
    return Document.of(items)
