"""A workflow's text as a `Definition`, or every fault in it with its line."""

import re
from typing import Any, Final

from parade.wire.errors import ParadeError
from parade_scheduler.language import graph, tree
from parade_scheduler.language.definition import Definition, StepDefinition, canonical
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.inputs import JSON_TYPES, SCHEMA_WORDS, Input, Inputs, validator, violations
from parade_scheduler.language.references import References
from parade_scheduler.language.steps import Steps
from parade_scheduler.language.template import Template
from parade_scheduler.language.tree import Node
from parade_scheduler.language.values import Values
from parade_scheduler.language.words import Words

WORKFLOW_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
INPUT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

_WORDS: Final = frozenset({"name", "description", "inputs", "steps", "outputs", "timeout"})
_INPUT_WORDS: Final = frozenset({"schema", "required", "default", "description"}) | SCHEMA_WORDS
_OUTPUT_NAMES: Final = frozenset({"inputs", "steps", "run"})


def read(source: str) -> Definition:
    """Reads a definition.

    Args:
        source: YAML or JSON, at most 1 MiB.

    Raises:
        ParadeError: INVALID_ARGUMENTS with one violation for each fault, its path and its line.
    """
    faults = Faults()
    root = tree.read(source, faults)
    reader = _Reader(faults)
    definition = reader.definition(root)
    faults.raise_any()
    return definition


class _Reader:
    """Reads the words at the top of a definition."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._words = Words(faults)
        self._values = Values(faults)
        self._steps = Steps(faults, self._words, self._values)

    def definition(self, root: Node) -> Definition:
        found = self._words.known(root, "", _WORDS)
        if root.entries is not None:
            for word in ("name", "steps"):
                if word not in found:
                    self._faults.add(word, root.line, f"a workflow needs `{word}`")
        inputs = self._inputs(found.get("inputs"))
        steps = self._steps.read(found["steps"]) if "steps" in found else {}
        outputs = self._outputs(found.get("outputs"))
        self._check_graph(steps, inputs)
        rule = "name of a workflow: a lower-case letter, then lower-case letters, digits or `-`, at most 40"
        return Definition(
            name=self._words.name(found.get("name"), "name", WORKFLOW_NAME, rule),
            description=self._words.text(found.get("description"), "description"),
            inputs=inputs,
            steps={step: definition for step, (definition, _) in steps.items()},
            outputs=outputs,
            timeout=self._words.duration(found.get("timeout"), "timeout"),
            canonical=canonical(root.plain()),
        )

    def _inputs(self, node: Node | None) -> Inputs:
        if node is None or node.kind == "empty":
            return Inputs()
        if node.entries is None:
            self._faults.add("inputs", node.line, f"the inputs by name stand here, not {node.kind}")
            return Inputs()
        return Inputs(tuple(self._input(name, key.line, value) for name, (key, value) in node.entries.items()))

    def _input(self, name: str, line: int, node: Node) -> Input:
        path = f"inputs.{name}"
        if not INPUT_NAME.fullmatch(name):
            rule = "a letter or `_`, then letters, digits or `_`, at most 63, so that `inputs.<name>` can be written"
            self._faults.add(path[:80], line, f"`{name[:60]}` is no name of an input: {rule}")
        found = {} if node.kind == "empty" else self._words.known(node, path, _INPUT_WORDS)
        schema = self._schema(found, path)
        default: Any = found["default"].plain() if "default" in found else None
        if "default" in found:
            for violation in violations(validator(schema), default, f"{path}.default"):
                self._faults.add(violation.field, found["default"].line, violation.description)
        return Input(
            name=name,
            schema=schema,
            required=self._words.boolean(found.get("required"), f"{path}.required", default="default" not in found)
            and "default" not in found,
            default=default,
            description=self._words.text(found.get("description"), f"{path}.description"),
        )

    def _schema(self, found: dict[str, Node], path: str) -> dict[str, Any]:
        """Returns the schema of an input; one that lets anything through where it is at fault."""
        words = {word: value for word, value in found.items() if word in SCHEMA_WORDS}
        kind, node = found.get("type"), found.get("schema")
        if node is not None and words:
            word = next(iter(words))
            self._faults.add(f"{path}.schema", node.line, f"`{word}` and `schema` exclude each other; a schema has its own `{word}`")
            return {}
        if kind is not None and isinstance(kind.scalar, str) and kind.scalar not in JSON_TYPES:
            hint = self._faults.hint(kind.scalar, JSON_TYPES) or f"there are {', '.join(JSON_TYPES)}"
            self._faults.add(f"{path}.type", kind.line, f"`{kind.scalar[:60]}` is no type; {hint}")
            return {}
        if node is not None and node.entries is None:
            self._faults.add(f"{path}.schema", node.line, f"a JSON Schema stands here, not {node.kind}")
            return {}
        schema: dict[str, Any] = node.plain() if node is not None else {word: value.plain() for word, value in words.items()}
        try:
            validator(schema)
        except ParadeError as error:
            place = (f"{path}.schema", node) if node is not None else (path, next(iter(words.values())))
            self._faults.add(place[0], place[1].line, error.message)
            return {}
        return schema

    def _outputs(self, node: Node | None) -> Template:
        if node is None or node.kind == "empty":
            return Template({})
        if node.entries is None:
            self._faults.add("outputs", node.line, f"the outputs by name stand here, not {node.kind}")
            return Template({})
        return self._values.template(node, "outputs", "", _OUTPUT_NAMES)

    def _check_graph(self, steps: dict[str, tuple[StepDefinition, dict[str, int]]], inputs: Inputs) -> None:
        needs = {step: definition.needs for step, (definition, _) in steps.items()}
        unreliable: set[str] = set()
        for step, (_, lines) in steps.items():
            for needed, line in lines.items():
                if needed not in steps:
                    unreliable.add(step)
                    hint = self._faults.hint(needed, steps)
                    self._faults.add(f"steps.{step}.needs", line, f"there is no step `{needed[:60]}`" + (f"; {hint}" if hint else ""))
        cycles = graph.cycles(needs)
        for cycle in cycles:
            self._faults.add(
                f"steps.{cycle[0]}.needs", steps[cycle[0]][1][cycle[1]], f"the steps wait for each other: {' needs '.join(cycle)}"
            )
        if cycles:
            unreliable.update(steps)
        names = [item.name for item in inputs.inputs]
        References(names, steps, graph.ancestors(needs), unreliable, self._faults).check(self._values.uses)
