"""What stands on a step when its workflow is drawn."""

from parade.v1.scheduler_pb2 import WorkflowStep

MAX_CONDITION = 48
"""How many characters of a condition are shown."""


def labels(step: WorkflowStep) -> list[str]:
    """Returns the lines of a step: its id, its function, and what is special about it."""
    lines = [step.id, step.call]
    if step.for_each:
        lines.append("for each item")
    if step.condition:
        condition = " ".join(step.condition.split())
        lines.append(f"if {condition}" if len(condition) <= MAX_CONDITION else f"if {condition[: MAX_CONDITION - 1]}…")
    return lines
