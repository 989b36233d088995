"""What tasks are given, as it travels. The output of a step that is handed on is not encoded again."""

from collections.abc import Mapping
from typing import Any

import orjson

from parade.wire.errors import ParadeError, Reason
from parade.wire.redaction import masked
from parade_scheduler.decider.asks import arguments_of, envelope_of
from parade_scheduler.decider.execution import Execution
from parade_scheduler.document import Document, type_name
from parade_scheduler.expression import Expression
from parade_scheduler.language import Template
from parade_scheduler.model import Kind, Step

COMPENSATE = ".compensate"
"""What the id of a compensation has after that of its step."""


def arguments(execution: Execution, step: str, index: int) -> Document:
    """Returns what a task is given. Which secrets are in it `execution.bindings.seen` says, until the next task is given something.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it cannot be computed or is no object.
    """
    if execution.definition.durable:
        rows = execution.tasks[step]
        return arguments_of(rows[index]) if index else envelope_of(execution.run, rows, execution.entries)
    execution.bindings.look_anew()
    definition = execution.definition_of(step)
    # The inputs of another run go on record there.
    bindings = execution.bindings.recorded if definition.kind is Kind.RUN else execution.bindings.handed_out
    own = task_bindings(execution, step, index)
    try:
        return encoded(definition.arguments, execution.steps, {**bindings, **own} if own else bindings, f"steps.{step}.with")
    except ParadeError as error:
        raise ParadeError(error.reason, masked(error.message, execution.bindings.told)) from None


def task_bindings(execution: Execution, step: str, index: int) -> dict[str, Any]:
    """Returns the names that only the expressions of one task see: of an item, of a turn, of what is undone."""
    definition = execution.definition_of(step)
    items = execution.steps[step].items
    if items is not None:
        return {"item": items.value[index], "index": index}
    if definition.loop is not None:
        before = execution.tasks[step].get(index - 1)
        return {"index": index, "output": None if before is None or before.output is None else before.output.value}
    if step in execution.definition.compensations:
        output = execution.steps[step.removesuffix(COMPENSATE)].output
        return {"output": None if output is None else output.value}
    return {}


def encoded(template: Template, steps: Mapping[str, Step], bindings: Mapping[str, Any], place: str) -> Document:
    """Returns the object that a template gives.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it cannot be computed or is no object.
    """
    output = _output(template.value, steps)
    # What is no JSON for all its brace is refused by who decodes it.
    if output is not None and output.data[:1] == b"{":
        return output
    if output is not None:
        value = output.value
    elif template.many:
        value = template.fill(bindings, place)  # it is weighed before it is written out
    else:
        value = _encodable(template.value, steps, bindings, place)
    if not isinstance(value, dict):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: the arguments are an object, this is {type_name(value)}")
    return Document.of(value)


def _encodable(value: Any, steps: Mapping[str, Step], bindings: Mapping[str, Any], place: str) -> Any:
    """Fills a template; the output of a step stands in it as the JSON that it is."""
    if isinstance(value, dict):
        return {key: _encodable(item, steps, bindings, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item, steps, bindings, f"{place}[{index}]") for index, item in enumerate(value)]
    output = _output(value, steps)
    if output is None:
        return Template(value).fill(bindings, place)
    # It is decoded all the same: what is no JSON could end the object that it stands in and go on with words of its own.
    output.value  # noqa: B018
    return orjson.Fragment(output.data)


def _output(value: Any, steps: Mapping[str, Step]) -> Document | None:
    """Returns the output that an expression hands on as it is; None where the value is anything else."""
    if not isinstance(value, Expression) or len(value.references) != 1:
        return None
    reference = value.references[0]
    if not reference.whole or len(reference.path) != 3 or reference.path[0] != "steps" or reference.path[2] != "output":
        return None
    row = steps.get(str(reference.path[1]))
    return None if row is None else row.output
