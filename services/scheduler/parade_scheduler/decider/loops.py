"""Loops: a step's tasks one after the other, until one is the last."""

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider.execution import MAX_TASKS
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import type_name
from parade_scheduler.language import computed
from parade_scheduler.language.definition import Loop
from parade_scheduler.model import Step


def is_over(transition: Transition, row: Step, loop: Loop) -> bool:
    """Tells whether a turn that succeeded was the last; where not, the step gets another one.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where `until` cannot be computed; FAILED_PRECONDITION, where there may be no further turn.
    """
    execution = transition.execution
    output = execution.tasks[row.id][row.tasks - 1].output
    bindings = {**execution.bindings.recorded, "index": row.tasks - 1, "output": None if output is None else output.value}
    place = f"steps.{row.id}.loop.until"
    over = computed(loop.until, bindings, place)
    if not isinstance(over, bool):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: a condition is true or false, this is {type_name(over)}")
    if over:
        return True
    if row.tasks >= loop.limit:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"not done after {loop.limit:,} turns")
    if execution.size >= MAX_TASKS:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"a run has at most {MAX_TASKS:,} steps and tasks together")
    execution.size += 1
    transition.step(row.id, tasks=row.tasks + 1)
    return False
