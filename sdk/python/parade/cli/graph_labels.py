"""What stands on a step when its workflow is drawn."""

from parade.v1.scheduler_pb2 import WorkflowStep
from parade.v1.step_kind_pb2 import StepKind

MAX_LINE = 48
"""How many characters of a condition, or of what a step waits for, are shown."""

WAITS = frozenset({StepKind.STEP_KIND_APPROVAL, StepKind.STEP_KIND_SIGNAL, StepKind.STEP_KIND_TIMER, StepKind.STEP_KIND_EVENT})
"""The steps that wait."""


def labels(step: WorkflowStep) -> list[str]:
    """Returns the lines of a step: its id, what it does, and what is special about it."""
    lines = [step.id, _deed(step)]
    if step.for_each:
        lines.append("for each item")
    if step.loop:
        lines.append("again and again")
    if step.condition:
        lines.append(_cut(f"if {step.condition}"))
    if step.compensation:
        lines.append(f"undone by {step.compensation}")
    return lines


def _deed(step: WorkflowStep) -> str:
    """Returns what a step does."""
    if step.kind == StepKind.STEP_KIND_RACE:
        return "the first to succeed"
    if step.kind == StepKind.STEP_KIND_RUN:
        return f"run {step.call}"
    if step.kind in WAITS:
        word = StepKind.Name(step.kind).removeprefix("STEP_KIND_").lower()
        return _cut(f"{word} {step.detail}".rstrip())
    return step.call


def _cut(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= MAX_LINE + 3 else f"{line[: MAX_LINE + 2]}…"
