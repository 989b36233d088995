"""What becomes of a step: skipped, started, kept busy, ended."""

from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import ends, loops, races, tasks, turns
from parade_scheduler.decider.execution import MAX_TASKS, Execution
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document, type_name
from parade_scheduler.language import MAX_ITEMS, computed
from parade_scheduler.language.definition import Loop
from parade_scheduler.model import EventType, Failure, Kind, RunState, Step, StepState

_WORDS: Final = {StepState.FAILED: "failed", StepState.SKIPPED: "was skipped", StepState.CANCELLED: "was cancelled"}


def advance(transition: Transition, step: str) -> None:
    """Does whatever a step has to do now."""
    execution = transition.execution
    state = execution.steps[step].state
    if state is StepState.RUNNING:
        _go_on(transition, step)
    elif state is StepState.PENDING and execution.run.state is RunState.RUNNING and _is_ready(execution, step):
        _begin(transition, step)


def cancel(transition: Transition, step: str) -> None:
    """Ends a step because the run ends: at once where it has not started, otherwise with its last task."""
    match transition.execution.steps[step].state:
        case StepState.PENDING:
            ends.cancel(transition, step)
        case StepState.RUNNING:
            _go_on(transition, step)


def _is_ready(execution: Execution, step: str) -> bool:
    return execution.waiting[step] == 0 and (execution.steps[step].kind is not Kind.RACE or races.is_decided(execution, step))


def _begin(transition: Transition, step: str) -> None:
    execution = transition.execution
    try:
        obstacle = _obstacle(transition, step)
        items = None if obstacle else _items(transition, step)
    except ParadeError as error:
        ends.fail(transition, step, Failure.of(error))
        return
    if obstacle:
        ends.end(transition, step, StepState.SKIPPED, EventType.STEP_SKIPPED, message=obstacle)
        return
    if execution.steps[step].kind is Kind.RACE:
        races.decide(transition, step)
        return
    count = 1 if items is None else len(items.value)
    if execution.size + count > MAX_TASKS:
        message = f"it has {count:,} tasks; a run has at most {MAX_TASKS:,} steps and tasks together"
        ends.fail(transition, step, Failure(Reason.FAILED_PRECONDITION, message))
        return
    execution.size += count
    transition.step(step, state=StepState.RUNNING, tasks=count, items=items, start_time=transition.now)
    transition.event(EventType.STEP_STARTED, step=step, tasks=count)
    _go_on(transition, step)


def _go_on(transition: Transition, step: str) -> None:
    execution = transition.execution
    definition = execution.definition_of(step)
    if execution.is_stopping(step):
        _stop(transition, step)
    elif transition.goes_on and execution.definition.durable:
        turns.go_on(transition)
    elif transition.goes_on:
        if definition.loop is not None and _is_over(transition, step, definition.loop):
            return
        _hand_out(transition, step, definition.max_parallel)
    row = execution.steps[step]
    if execution.active[step]:
        return
    if execution.definition.durable:
        if execution.is_stopping(step) or turns.is_over(execution):
            turns.conclude(transition, row)
    elif execution.is_stopping(step) or (row.tasks_succeeded == row.tasks and definition.loop is None):
        _conclude(transition, row)


def _is_over(transition: Transition, step: str, loop: Loop) -> bool:
    """Ends a loop whose last turn has ended, or gives it another one. Returns whether it has ended."""
    row = transition.execution.steps[step]
    if row.tasks_succeeded < row.tasks:
        return False
    try:
        over = loops.is_over(transition, row, loop)
    except ParadeError as error:
        ends.fail(transition, step, Failure.of(error))
        return True
    if over:
        _conclude(transition, row)
    return over


def _hand_out(transition: Transition, step: str, most: int) -> None:
    execution = transition.execution
    count = execution.steps[step].tasks
    rows = execution.tasks[step]
    if len(rows) == count:
        return
    while len(rows) < count and execution.active[step] < most:
        tasks.start(transition, step, len(rows))
        if execution.is_stopping(step):
            _stop(transition, step)
            break


def _stop(transition: Transition, step: str) -> None:
    execution = transition.execution
    if step not in execution.stopped:
        execution.stopped.add(step)
        for task in list(execution.tasks[step].values()):
            tasks.stop(transition, task)


def _conclude(transition: Transition, row: Step) -> None:
    """Ends a step none of whose tasks is under way."""
    if row.failure is not None:
        ends.fail(transition, row.id, row.failure)
    elif row.tasks_succeeded < row.tasks:
        ends.cancel(transition, row.id)
    else:
        output = _output(transition, row)
        ends.end(transition, row.id, StepState.SUCCEEDED, EventType.STEP_SUCCEEDED, {"output": output}, output=output)


def _output(transition: Transition, row: Step) -> Document | None:
    rows = transition.execution.tasks[row.id]
    if row.items is None:
        return rows[row.tasks - 1].output
    # Tasks are handed out in the order of their items, so their rows stand in it.
    return Document.joined(task.output for task in rows.values() if task.output is not None)


def _obstacle(transition: Transition, step: str) -> str:
    """Returns why a step is skipped; an empty text where it is not.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where its condition cannot be computed.
    """
    execution = transition.execution
    definition = execution.definition.steps[step]
    needs = [needed for needed in definition.needs if needed not in definition.race] if definition.race else definition.needs
    missed = next((needed for needed in needs if execution.steps[needed].state is not StepState.SUCCEEDED), None)
    if missed is not None and not definition.decides_alone:
        return f"`{missed}`, which it needs, {_WORDS[execution.steps[missed].state]}"
    if definition.condition is None:
        return ""
    met = definition.condition
    if not isinstance(met, bool):
        place = f"steps.{step}.if"
        failure = not execution.broken.isdisjoint(needs)
        met = computed(met, {**execution.bindings.recorded, "success": missed is None, "failure": failure}, place)
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
    items = template.fill(execution.bindings.recorded, place)
    if not isinstance(items, list):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: the items are a list, this is {type_name(items)}")
    if len(items) > MAX_ITEMS:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: the list has {len(items):,} items; at most {MAX_ITEMS:,}")
    return Document.of(items)
