"""What a step waits for, in a few words, for drawings of its workflow."""

from typing import Any

from parade_scheduler.expression import Expression
from parade_scheduler.language.definition import Approval, Event, Signal, StepDefinition, Timer
from parade_scheduler.language.template import Text


def detail(step: StepDefinition) -> str:
    """Returns the name of the signal, the time of the timer, the type of the event, or who may approve; an empty text for other steps."""
    match step.wait:
        case Signal(name=name):
            return name
        case Timer(duration=None, until=until) if until is not None:
            return f"until {_written(until.value)}"
        case Timer(duration=duration) if duration is not None:
            return _written(duration.value)
        case Event(type=kind, condition=None):
            return kind
        case Event(type=kind, condition=condition) if condition is not None:
            return f"{kind} if {condition.text}"
        case Approval(approvers=approvers):
            return ", ".join(approvers)
    return ""


def _written(value: Any) -> str:
    """Returns a template's value as it stands in the document."""
    match value:
        case Expression():
            return f"${{{{ {value.text} }}}}"
        case Text():
            return "".join(_written(part) for part in value.parts)
    return str(value)
