"""Workflows written in Python: a builder that makes the same document as YAML does.

```python
flow = parade.Workflow("sales-report", inputs={"source": {"type": "string"}})
rows = flow.step("collect", "collector.collect", {"source": flow.inputs.source})
report = flow.step("describe", "analyst.describe", {"rows": rows.output})
flow.output("summary", report.output)
await mesh.put_workflow(flow)
```
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed task is tried again."""

    attempts: int
    """How many attempts in all."""
    delay: str = "1s"
    """The pause before the second one."""
    factor: float = 2.0
    """By how much each pause is longer than the last."""
    max_delay: str = "1m"
    """The longest pause."""


class Expression:
    """A CEL expression, grown by attribute and index: `flow.inputs.source`, `step.output["rows"][0]`."""

    def __init__(self, text: str, steps: frozenset[str] = frozenset()) -> None:
        """Takes the expression and the steps that it speaks of; a step that uses it needs them."""
        self._text = text
        self._steps = steps

    def __getattr__(self, name: str) -> "Expression":
        """Returns the expression for a member."""
        if name.startswith("_"):
            raise AttributeError(name)
        return Expression(f"{self._text}.{name}", self._steps)

    def __getitem__(self, key: str | int) -> "Expression":
        """Returns the expression for an element."""
        return Expression(f"{self._text}[{json.dumps(key)}]", self._steps)

    def __str__(self) -> str:
        """Returns the expression as it stands in a document."""
        return f"${{{{ {self._text} }}}}"


ITEM = Expression("item")
"""The item that a task of a for-each is for."""
INDEX = Expression("index")
"""Its place in the list, counted from 0."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has been added to a workflow."""

    id: str

    @property
    def output(self) -> Expression:
        """The step's output; a list for a for-each."""
        return Expression(f"steps.{self.id}.output", frozenset({self.id}))


class Workflow:
    """A workflow in the making."""

    def __init__(
        self, name: str, *, description: str = "", inputs: Mapping[str, Mapping[str, Any]] | None = None, timeout: str = ""
    ) -> None:
        """Starts a workflow.

        Args:
            name: Its name: a lower-case letter, then lower-case letters, digits or "-".
            description: What it does.
            inputs: Its inputs by name, each as in the document: `type`, `default`, `required`, `description`.
            timeout: The longest that a run may take, for example `10m`.
        """
        self.name = name
        self._words = {"description": description, "inputs": _document(dict(inputs or {})), "timeout": timeout}
        self._steps: dict[str, dict[str, Any]] = {}
        self._outputs: dict[str, Any] = {}

    @property
    def inputs(self) -> Expression:
        """The run's inputs."""
        return Expression("inputs")

    def step(
        self,
        id: str,  # the language's own word
        function: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        needs: Sequence[Step] = (),
        condition: Expression | str | None = None,
        for_each: Expression | Sequence[Any] | None = None,
        max_parallel: int | None = None,
        retry: Retry | None = None,
        timeout: str | None = None,
    ) -> Step:
        """Adds a step. It needs the steps whose outputs it uses, and those in `needs`.

        Args:
            id: Its name: a lower-case letter, then lower-case letters, digits or "_".
            function: The function that it calls, `agent.function`.
            arguments: The function's arguments; expressions may stand anywhere in them.
            needs: Steps that must have succeeded first.
            condition: When it runs: an expression (CEL); it is skipped where that is false.
            for_each: A list; the step has one task for each of its items.
            max_parallel: How many tasks run at once.
            retry: How often a failed task is tried again.
            timeout: The longest a task may take, for example `30s`.

        Raises:
            ValueError: There is a step of that name.
        """
        if id in self._steps:
            raise ValueError(f"there is a step {id!r} already")
        needed = {step.id for step in needs} | _mentioned([arguments, condition, for_each])
        words: dict[str, Any] = {
            "call": function,
            "needs": [known for known in self._steps if known in needed],
            "if": str(condition) if isinstance(condition, Expression) else condition,
            "for-each": _document(for_each),
            "max-parallel": max_parallel,
            "with": _document(dict(arguments or {})),
            "retry": retry and {"attempts": retry.attempts, "delay": retry.delay, "factor": retry.factor, "max-delay": retry.max_delay},
            "timeout": timeout,
        }
        self._steps[id] = {word: value for word, value in words.items() if value not in (None, [], {})}
        return Step(id)

    def output(self, name: str, value: Any) -> None:
        """Adds an output of the run: a value with expressions anywhere in it."""
        self._outputs[name] = _document(value)

    def to_document(self) -> dict[str, Any]:
        """Returns the document as plain values."""
        words = {"name": self.name, **self._words, "steps": self._steps, "outputs": self._outputs}
        return {word: value for word, value in words.items() if value not in ("", {})}

    def to_yaml(self) -> str:
        """Returns the document as YAML."""
        return yaml.safe_dump(self.to_document(), sort_keys=False, allow_unicode=True)


def _document(value: Any) -> Any:
    match value:
        case Expression():
            return str(value)
        case dict():
            return {key: _document(item) for key, item in value.items()}
        case list() | tuple():
            return [_document(item) for item in value]
    return value


def _mentioned(value: Any) -> set[str]:
    match value:
        case Expression():
            return set(value._steps)  # noqa: SLF001
        case dict():
            return set().union(*map(_mentioned, value.values()))
        case list() | tuple():
            return set().union(*map(_mentioned, value))
    return set()
