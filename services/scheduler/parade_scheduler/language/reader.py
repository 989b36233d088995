"""A workflow's text as a `Definition`, or every fault in it with its line."""

from dataclasses import dataclass, replace
from typing import Any

from parade.wire.errors import ParadeError
from parade_scheduler.language import graph, places, tree
from parade_scheduler.language.definition import Concurrency, Definition, canonical
from parade_scheduler.language.faults import Fault, Faults, UnreadableError
from parade_scheduler.language.inputs import SCHEMA_HINT, Input, Inputs, validator, violations
from parade_scheduler.language.references import References
from parade_scheduler.language.steps import ReadStep, Steps
from parade_scheduler.language.template import Template, expressions
from parade_scheduler.language.tree import Node
from parade_scheduler.language.triggers import Triggers
from parade_scheduler.language.values import Values
from parade_scheduler.language.vocabulary import CONCURRENCY, INPUT, JSON_SCHEMA, JSON_TYPES, WORKFLOW
from parade_scheduler.language.vocabulary.names import INPUT_NAME, MAX_GROUP_RUNS, MAX_LISTED, MAX_PRIORITY, VARIABLE_NAME, WORKFLOW_NAME
from parade_scheduler.language.words import Words
from parade_scheduler.model import Kind
from parade_scheduler.refusal import refused


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in a definition."""

    definition: Definition | None
    """The definition, as far as it could be understood where there are faults; None where it could not be read at all."""
    faults: tuple[Fault, ...]
    """Every fault, in the order of lines."""


def examine(source: str) -> Examined:
    """Looks for the faults of a definition.

    Args:
        source: YAML or JSON, at most 1 MiB.
    """
    faults = Faults()
    try:
        definition = _Reader(faults).definition(tree.read(source, faults))
    except UnreadableError:
        return Examined(None, faults.in_order())
    return Examined(definition, faults.in_order())


def read(source: str) -> Definition:
    """Reads a definition.

    Args:
        source: YAML or JSON, at most 1 MiB.

    Raises:
        ParadeError: INVALID_ARGUMENTS with one violation for each fault, its path and its line.
    """
    examined = examine(source)
    violations = [fault.violation() for fault in examined.faults]
    if examined.definition is None:
        raise refused(violations, "the workflow cannot be read")
    if violations:
        raise refused(violations, "the workflow has a fault" if len(violations) == 1 else f"the workflow has {len(violations)} faults")
    return examined.definition


class _Reader:
    """Reads the words at the top of a definition."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._words = Words(faults)
        self._values = Values(faults)
        self._steps = Steps(faults, self._words, self._values)

    def definition(self, root: Node) -> Definition:
        found = self._words.known(root, "", root.line, WORKFLOW)
        inputs = self._inputs(found.get("inputs"))
        starts = Triggers(self._faults, self._words, self._values, inputs).read(found.get("on"))
        steps = self._steps.read(found["steps"]) if "steps" in found else {}
        definition = Definition(
            name=self._words.name(found.get("name"), "name", WORKFLOW_NAME),
            description=self._words.text(found.get("description"), "description"),
            inputs=inputs,
            steps={step: read_step.definition for step, read_step in steps.items()},
            outputs=self._outputs(found.get("outputs")),
            timeout=self._words.duration(found.get("timeout"), "timeout"),
            canonical=canonical(root.plain()),
            schedules=starts.schedules,
            triggers=starts.triggers,
            concurrency=self._concurrency(found.get("concurrency")),
            manual=starts.manual,
            priority=self._words.whole_number(found.get("priority"), "priority", 0, MAX_PRIORITY, -MAX_PRIORITY),
            env=self._env(found.get("env")),
        )
        self._check_graph(steps, definition)
        return replace(definition, secrets=self._values.secrets())

    def _env(self, node: Node | None) -> dict[str, Template]:
        if node is None or node.kind == "empty":
            return {}
        if node.entries is None:
            self._faults.add("env", node.line, f"values by name stand here, not {node.kind}")
            return {}
        if len(node.entries) > MAX_LISTED:
            self._faults.add("env", node.line, f"there are {len(node.entries):,} values; at most {MAX_LISTED}")
        env: dict[str, Template] = {}
        for name, (key, value) in node.entries.items():
            if not VARIABLE_NAME.pattern.fullmatch(name):
                self._faults.add(f"env.{name[:60]}", key.line, f"`{name[:60]}` is no {VARIABLE_NAME.what}", VARIABLE_NAME.rule)
            env[name] = self._values.template(value, f"env.{name}", "", places.ENVIRONMENT)
        return env

    def _concurrency(self, node: Node | None) -> Concurrency | None:
        if node is None:
            return None
        if node.entries is None:
            return Concurrency(self._group(node, "concurrency"))
        found = self._words.known(node, "concurrency", node.line, CONCURRENCY)
        return Concurrency(
            group=self._group(found["group"], "concurrency.group") if "group" in found else Template(""),
            limit=self._words.whole_number(found.get("limit"), "concurrency.limit", 1, MAX_GROUP_RUNS),
            cancel_in_progress=self._words.boolean(found.get("cancel-in-progress"), "concurrency.cancel-in-progress", default=False),
        )

    def _group(self, node: Node, path: str) -> Template:
        if not self._words.text(node, path) and node.kind in ("empty", "a text"):
            self._faults.add(path, node.line, "the name of a group stands here", "a text, which may hold `${{ inputs.<name> }}`")
        return self._values.template(node, path, "", places.GROUP)

    def _inputs(self, node: Node | None) -> Inputs:
        if node is None or node.kind == "empty":
            return Inputs()
        if node.entries is None:
            self._faults.add("inputs", node.line, f"the inputs by name stand here, not {node.kind}")
            return Inputs()
        return Inputs(tuple(self._input(name, key.line, value) for name, (key, value) in node.entries.items()))

    def _input(self, name: str, line: int, node: Node) -> Input:
        path = f"inputs.{name}"
        if not INPUT_NAME.pattern.fullmatch(name):
            self._faults.add(path[:80], line, f"`{name[:60]}` is no {INPUT_NAME.what}", INPUT_NAME.rule)
        found = {} if node.kind == "empty" else self._words.known(node, path, line, INPUT)
        schema = self._schema(found, path)
        default: Any = found["default"].plain() if "default" in found else None
        if "default" in found:
            for violation in violations(validator(schema), default, f"{path}.default"):
                self._faults.add(violation.field, found["default"].line, violation.description, f"the schema of `{name}` says so")
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
        words = {word: value for word, value in found.items() if word in JSON_SCHEMA}
        kind, node = found.get("type"), found.get("schema")
        if node is not None and words:
            word = next(iter(words))
            self._faults.add(f"{path}.schema", node.line, f"`{word}` and `schema` exclude each other", f"a schema has its own `{word}`")
            return {}
        if kind is not None and isinstance(kind.scalar, str) and kind.scalar not in JSON_TYPES:
            hint = self._faults.hint(kind.scalar, JSON_TYPES) or f"there are {', '.join(JSON_TYPES)}"
            self._faults.add(f"{path}.type", kind.line, f"`{kind.scalar[:60]}` is no type", hint)
            return {}
        if node is not None and node.entries is None:
            self._faults.add(f"{path}.schema", node.line, f"a JSON Schema stands here, not {node.kind}")
            return {}
        schema: dict[str, Any] = node.plain() if node is not None else {word: value.plain() for word, value in words.items()}
        try:
            validator(schema)
        except ParadeError as error:
            place = (f"{path}.schema", node) if node is not None else (path, next(iter(words.values())))
            self._faults.add(place[0], place[1].line, error.message, SCHEMA_HINT)
            return {}
        return schema

    def _outputs(self, node: Node | None) -> Template:
        if node is None or node.kind == "empty":
            return Template({})
        if node.entries is None:
            self._faults.add("outputs", node.line, f"the outputs by name stand here, not {node.kind}")
            return Template({})
        return self._values.template(node, "outputs", "", places.OUTPUTS)

    def _check_graph(self, steps: dict[str, ReadStep], definition: Definition) -> None:
        needs = {step: read_step.definition.needs for step, read_step in steps.items()}
        races = {step for step, read_step in steps.items() if read_step.definition.kind is Kind.RACE}
        unreliable: set[str] = set()
        for step, read_step in steps.items():
            for needed, line in read_step.lines.items():
                if needed not in steps:
                    unreliable.add(step)
                    hint = self._faults.hint(needed, steps) or f"there are {', '.join(list(steps)[:20])}"
                    self._faults.add(read_step.needs_field, line, f"there is no step `{needed[:60]}`", hint)
        cycles = graph.cycles(needs)
        for cycle in cycles:
            first = steps[cycle[0]]
            self._faults.add(
                first.needs_field,
                first.lines[cycle[1]],
                f"the steps wait for each other: {' needs '.join(cycle)}",
                "leave one of these needs out",
            )
        if cycles:
            unreliable.update(steps)
        references = References(
            inputs=[item.name for item in definition.inputs.inputs],
            env=definition.env,
            secret_env=[name for name, template in definition.env.items() if _holds_secret(template)],
            steps=steps,
            ancestors=graph.ancestors(needs, races),
            unreliable=unreliable,
            faults=self._faults,
        )
        references.check(self._values.uses)


def _holds_secret(template: Template) -> bool:
    return any(reference.root == "secrets" for expression in expressions(template.value) for reference in expression.references)
