"""The words of a step."""

from dataclasses import dataclass
from typing import Final

from parade_scheduler.backoff import Backoff
from parade_scheduler.expression import Expression
from parade_scheduler.language.definition import Retry, StepDefinition
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.template import Template, Text
from parade_scheduler.language.tree import Node
from parade_scheduler.language.values import Values
from parade_scheduler.language.vocabulary import (
    DEFAULT_PARALLEL,
    FUNCTION,
    MAX_ATTEMPTS,
    MAX_FACTOR,
    MAX_ITEMS,
    MAX_STEPS,
    MIN_FACTOR,
    RETRY,
    STEP,
    STEP_ID,
)
from parade_scheduler.language.words import Words

_NAMES: Final = frozenset({"inputs", "steps", "run"})
_CONDITION_NAMES: Final = _NAMES | {"success", "failure"}
_TASK_NAMES: Final = _NAMES | {"item", "index"}


@dataclass(frozen=True, slots=True)
class Steps:
    """Reads steps."""

    faults: Faults
    words: Words
    values: Values

    def read(self, node: Node) -> dict[str, tuple[StepDefinition, dict[str, int]]]:
        """Returns the steps by id, each with the line of every need."""
        if not node.entries:
            self.faults.add("steps", node.line, f"a mapping of at least one step by its id stands here, not {node.kind}")
            return {}
        if len(node.entries) > MAX_STEPS:
            raise self.faults.error("steps", node.line, f"the workflow has {len(node.entries):,} steps; at most {MAX_STEPS:,}")
        result: dict[str, tuple[StepDefinition, dict[str, int]]] = {}
        for step, (key, value) in node.entries.items():
            if not STEP_ID.pattern.fullmatch(step):
                self.faults.add(f"steps.{step[:80]}", key.line, f"`{step[:60]}` is no {STEP_ID.what}", STEP_ID.rule)
            result[step] = self._step(step, key.line, value)
        return result

    def _step(self, step: str, line: int, node: Node) -> tuple[StepDefinition, dict[str, int]]:
        path = f"steps.{step}"
        found = self.words.known(node, path, line, STEP)
        each = found.get("for-each")
        needs = self._needs(found.get("needs"), f"{path}.needs")
        condition, decides_alone = self._condition(found.get("if"), path, step)
        definition = StepDefinition(
            id=step,
            call_line=found["call"].line if "call" in found else line,
            call=self.words.name(found.get("call"), f"{path}.call", FUNCTION),
            arguments=self._arguments(found.get("with"), path, step, _NAMES if each is None else _TASK_NAMES),
            description=self.words.text(found.get("description"), f"{path}.description"),
            needs=tuple(needs),
            condition=condition,
            decides_alone=decides_alone,
            items=self._items(each, path, step),
            max_parallel=1
            if each is None
            else self.words.whole_number(found.get("max-parallel"), f"{path}.max-parallel", DEFAULT_PARALLEL, MAX_ITEMS),
            retry=self._retry(found.get("retry"), f"{path}.retry"),
            timeout=self.words.duration(found.get("timeout"), f"{path}.timeout"),
        )
        return definition, needs

    def _needs(self, node: Node | None, path: str) -> dict[str, int]:
        if node is None:
            return {}
        needs: dict[str, int] = {}
        for item in [node] if node.items is None else node.items:
            if not isinstance(item.scalar, str):
                self.faults.add(path, item.line, f"the id of a step, or a list of them, stands here, not {item.kind}")
            else:
                needs.setdefault(item.scalar, item.line)
        return needs

    def _condition(self, node: Node | None, path: str, step: str) -> tuple[Expression | bool | None, bool]:
        if node is None:
            return None, False
        if isinstance(node.scalar, bool):
            return node.scalar, node.scalar
        if not isinstance(node.scalar, str):
            self.faults.add(f"{path}.if", node.line, f"a condition stands here, `true` or `false`, not {node.kind}")
            return None, False
        expression = self.values.expression(node, f"{path}.if", step, _CONDITION_NAMES)
        if expression is None:
            return None, False
        if expression.text in ("true", "false"):
            return expression.text == "true", expression.text == "true"
        looks_back = any(
            reference.root in ("success", "failure") or (reference.root == "steps" and reference.path[2:3] == ("state",))
            for reference in expression.references
        )
        return expression, looks_back

    def _arguments(self, node: Node | None, path: str, step: str, names: frozenset[str]) -> Template:
        if node is None:
            return Template({})
        template = self.values.template(node, f"{path}.with", step, names)
        if not isinstance(template.value, dict | Expression):
            self.faults.add(
                f"{path}.with",
                node.line,
                f"the arguments by name stand here, or one `${{{{ expression }}}}` that gives them, not {node.kind}",
            )
        return template

    def _items(self, node: Node | None, path: str, step: str) -> Template | None:
        if node is None:
            return None
        template = self.values.template(node, f"{path}.for-each", step, _NAMES)
        if not isinstance(template.value, list | Expression) or isinstance(template.value, Text):
            self.faults.add(
                f"{path}.for-each", node.line, f"a list stands here, or one `${{{{ expression }}}}` that gives a list, not {node.kind}"
            )
        elif isinstance(template.value, list) and len(template.value) > MAX_ITEMS:
            self.faults.add(f"{path}.for-each", node.line, f"the list has {len(template.value):,} items; at most {MAX_ITEMS:,}")
        return template

    def _retry(self, node: Node | None, path: str) -> Retry:
        if node is None:
            return Retry()
        found = self.words.known(node, path, node.line, RETRY)
        delay = self.words.duration(found.get("delay"), f"{path}.delay") or 1.0
        longest = self.words.duration(found.get("max-delay"), f"{path}.max-delay") or max(60.0, delay)
        if longest < delay:
            self.faults.add(f"{path}.max-delay", found["max-delay"].line, "`max-delay` is shorter than `delay`")
        factor = self.words.number(found.get("factor"), f"{path}.factor", 2.0, MIN_FACTOR, MAX_FACTOR)
        attempts = self.words.whole_number(found.get("attempts"), f"{path}.attempts", 1, MAX_ATTEMPTS)
        return Retry(attempts, Backoff(delay, factor, longest))
