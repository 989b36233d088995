"""Expressions of workflows written in Python. They are only written down here; the scheduler computes them."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

_EXPRESSION: Final = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_STEP: Final = re.compile(r"\bsteps\.([a-z][a-z0-9_]*)")


class Expression:
    """A CEL expression, grown by attribute and index: `flow.inputs.source`, `step.output["rows"][0]`.

    Within a text it stands as the document has it: `f"Prices of {flow.inputs.shop}"`.
    """

    def __init__(self, text: str) -> None:
        """Takes the expression. A step that uses it needs the steps that it speaks of."""
        self._text = text

    def __getattr__(self, name: str) -> "Expression":
        """Returns the expression for a member."""
        if name.startswith("_"):
            raise AttributeError(name)
        return Expression(f"{self._text}.{name}")

    def __getitem__(self, key: str | int) -> "Expression":
        """Returns the expression for an element."""
        return Expression(f"{self._text}[{json.dumps(key)}]")

    def __str__(self) -> str:
        """Returns the expression as it stands in a document."""
        return f"${{{{ {self._text} }}}}"


INPUTS = Expression("inputs")
"""The run's inputs."""
ENV = Expression("env")
"""The values of the workflow's `env`."""
ITEM = Expression("item")
"""The item that a task of a for-each is for."""
INDEX = Expression("index")
"""Its place in the list, or which turn of a loop it is, counted from 0."""
OUTPUT = Expression("output")
"""What the turn of a loop gave, or in a compensation the step that it undoes."""
EVENT = Expression("event")
"""What an event says."""
SECRETS = Expression("secrets")
"""The namespace's secrets, by name; only in `env` and in the arguments of functions."""


def document(value: Any) -> Any:
    """Returns a value as it stands in a document, its expressions written out."""
    match value:
        case Expression():
            return str(value)
        case datetime():
            return value.isoformat()
        case Mapping():
            return {key: document(item) for key, item in value.items()}
        case list() | tuple():
            return [document(item) for item in value]
    return value


def mentioned(value: Any) -> set[str]:
    """Returns the steps of which the expressions in a document's value speak."""
    match value:
        case str():
            return {step for expression in _EXPRESSION.findall(value) for step in _STEP.findall(expression)}
        case Mapping():
            return set().union(*map(mentioned, value.values()))
        case list():
            return set().union(*map(mentioned, value))
    return set()


def asked(condition: Any) -> str:
    """Returns a condition with its braces, which it may be written without."""
    return f"${{{{ {condition} }}}}" if isinstance(condition, str) else str(condition)
