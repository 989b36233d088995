"""The words of a step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from parade_scheduler.expression import Expression
from parade_scheduler.language import places
from parade_scheduler.language.definition import Loop, StepDefinition, Timer
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.retries import Retries
from parade_scheduler.language.template import Template, Text
from parade_scheduler.language.tree import Node
from parade_scheduler.language.values import Values
from parade_scheduler.language.vocabulary import COMPENSATE, LOOP, STEP
from parade_scheduler.language.vocabulary.names import (
    DEFAULT_PARALLEL,
    FUNCTION,
    MAX_ITEMS,
    MAX_LISTED,
    MAX_STEPS,
    MAX_TURNS,
    RUN_NAME,
    STEP_ID,
    WHEN,
)
from parade_scheduler.language.waits import Waits
from parade_scheduler.language.words import Words
from parade_scheduler.model import Kind

_OR_EXPRESSION: Final = "write that, or one `${{ expression }}` that gives it"


@dataclass(frozen=True, slots=True)
class ReadStep:
    """A step as it was read."""

    definition: StepDefinition
    lines: Mapping[str, int]
    """For each step that it needs, the line that says so."""

    @property
    def needs_field(self) -> str:
        """Where it says which steps it needs."""
        return f"steps.{self.definition.id}.{'race' if self.definition.kind is Kind.RACE else 'needs'}"


class Steps:
    """Reads steps."""

    def __init__(self, faults: Faults, words: Words, values: Values) -> None:
        """Notes what is wrong in `faults`."""
        self._faults = faults
        self._words = words
        self._values = values
        self._retries = Retries(faults, words)
        self._waits = Waits(faults, words, values)

    def read(self, node: Node) -> dict[str, ReadStep]:
        """Returns the steps by id."""
        if not node.entries:
            self._faults.add("steps", node.line, f"a mapping of at least one step by its id stands here, not {node.kind}")
            return {}
        if len(node.entries) > MAX_STEPS:
            raise self._faults.error("steps", node.line, f"the workflow has {len(node.entries):,} steps; at most {MAX_STEPS:,}")
        result: dict[str, ReadStep] = {}
        for step, (key, value) in node.entries.items():
            if not STEP_ID.pattern.fullmatch(step):
                self._faults.add(f"steps.{step[:80]}", key.line, f"`{step[:60]}` is no {STEP_ID.what}", STEP_ID.rule)
            result[step] = self._step(step, key.line, value)
        return result

    def _step(self, step: str, line: int, node: Node) -> ReadStep:
        path = f"steps.{step}"
        found = self._words.known(node, path, line, STEP)
        if "race" in found:
            return self._race(step, found, path)
        each, loop = found.get("for-each"), found.get("loop")
        names = places.STEP | (places.TASK if each is not None else frozenset()) | (places.TURN if loop is not None else frozenset())
        needs = self._needs(found.get("needs"), f"{path}.needs")
        condition, decides_alone = self._condition(found, path, step)
        kind, call, call_line = self._call(found, path, line)
        wait = None
        if "wait" in found and kind is not Kind.RUN and not call:
            kind, wait = self._waits.read(found["wait"], f"{path}.wait", step, names)
        if isinstance(wait, Timer) and "timeout" in found:
            self._faults.add(f"{path}.timeout", found["timeout"].line, "a timer has its own time", "leave `timeout` out")
        definition = StepDefinition(
            id=step,
            call_line=call_line,
            call=call,
            arguments=self._arguments(found.get("with"), f"{path}.with", step, names, kind),
            kind=kind,
            description=self._words.text(found.get("description"), f"{path}.description"),
            needs=tuple(needs),
            condition=condition,
            decides_alone=decides_alone,
            items=self._items(each, path, step),
            max_parallel=1
            if each is None
            else self._words.whole_number(found.get("max-parallel"), f"{path}.max-parallel", DEFAULT_PARALLEL, MAX_ITEMS),
            retry=self._retries.read(found.get("retry"), f"{path}.retry"),
            timeout=self._words.duration(found.get("timeout"), f"{path}.timeout"),
            wait=wait,
            loop=self._loop(loop, f"{path}.loop", step),
            compensation=self._compensation(found.get("compensate"), step),
        )
        return ReadStep(definition, needs)

    def _call(self, found: Mapping[str, Node], path: str, line: int) -> tuple[Kind, str, int]:
        """Returns what a step or a compensation calls or runs, and the line that says so."""
        if "run" in found and "call" not in found:
            return Kind.RUN, self._words.name(found["run"], f"{path}.run", RUN_NAME), found["run"].line
        node = found.get("call")
        return Kind.CALL, self._words.name(node, f"{path}.call", FUNCTION), line if node is None else node.line

    def _race(self, step: str, found: Mapping[str, Node], path: str) -> ReadStep:
        node = found["race"]
        if node.items is None or not 2 <= len(node.items) <= MAX_LISTED:
            shown = f"{len(node.items):,}" if node.items is not None else node.kind
            self._faults.add(f"{path}.race", node.line, f"a list of 2 to {MAX_LISTED} steps stands here, not {shown}")
        racers = self._needs(node, f"{path}.race")
        if node.items is not None and len(racers) < len(node.items):
            self._faults.add(f"{path}.race", node.line, "a step stands here twice", "leave it out once")
        description = self._words.text(found.get("description"), f"{path}.description")
        definition = StepDefinition(step, node.line, "", Template({}), Kind.RACE, description, needs=tuple(racers), race=tuple(racers))
        return ReadStep(definition, racers)

    def _needs(self, node: Node | None, path: str) -> dict[str, int]:
        if node is None:
            return {}
        needs: dict[str, int] = {}
        for item in [node] if node.items is None else node.items:
            if not isinstance(item.scalar, str):
                self._faults.add(path, item.line, f"the id of a step, or a list of them, stands here, not {item.kind}")
            else:
                needs.setdefault(item.scalar, item.line)
        return needs

    def _condition(self, found: Mapping[str, Node], path: str, step: str) -> tuple[Expression | bool | None, bool]:
        """Returns the condition that `if` and `when` make together, and whether it is asked whatever became of the needed steps."""
        node, when_node = found.get("if"), found.get("when")
        expression = self._values.condition(node, f"{path}.if", step, places.CONDITION)
        condition: Expression | bool | None = expression
        if expression is not None and expression.text in ("true", "false"):
            condition = expression.text == "true"
        if when_node is None:
            return condition, condition is True or (isinstance(condition, Expression) and _looks_back(condition))
        when = self._words.choice(when_node, f"{path}.when", WHEN, "success")
        if when == "success" or condition is False:
            return condition, False
        if when == "always":
            return True if condition is None else condition, True
        # On a line of its own the bracket is closed even behind a comment.
        text = f"failure && ({condition.text}\n)" if isinstance(condition, Expression) else "failure"
        return self._values.joined(text, f"{path}.when", when_node.line), True

    def _arguments(self, node: Node | None, path: str, step: str, names: frozenset[str], kind: Kind) -> Template:
        if node is None:
            return Template({})
        template = self._values.template(node, path, step, names | places.ARGUMENTS if kind is Kind.CALL else names)
        if not isinstance(template.value, dict | Expression):
            self._faults.add(path, node.line, f"the arguments by name stand here, not {node.kind}", _OR_EXPRESSION)
        return template

    def _items(self, node: Node | None, path: str, step: str) -> Template | None:
        if node is None:
            return None
        template = self._values.template(node, f"{path}.for-each", step, places.STEP)
        if not isinstance(template.value, list | Expression) or isinstance(template.value, Text):
            self._faults.add(f"{path}.for-each", node.line, f"a list stands here, not {node.kind}", _OR_EXPRESSION)
        elif isinstance(template.value, list) and len(template.value) > MAX_ITEMS:
            self._faults.add(f"{path}.for-each", node.line, f"the list has {len(template.value):,} items; at most {MAX_ITEMS:,}")
        return template

    def _loop(self, node: Node | None, path: str, step: str) -> Loop | None:
        if node is None:
            return None
        found = self._words.known(node, path, node.line, LOOP)
        until = self._values.condition(found.get("until"), f"{path}.until", step, places.STEP | places.TURN)
        limit = self._words.whole_number(found.get("limit"), f"{path}.limit", 1, MAX_TURNS)
        return None if until is None else Loop(until, limit)

    def _compensation(self, node: Node | None, step: str) -> StepDefinition | None:
        if node is None:
            return None
        path = f"steps.{step}.compensate"
        found = self._words.known(node, path, node.line, COMPENSATE)
        kind, call, line = self._call(found, path, node.line)
        return StepDefinition(
            id=f"{step}.compensate",
            call_line=line,
            call=call,
            # Whatever it refers to has ended before it begins.
            arguments=self._arguments(found.get("with"), f"{path}.with", "", places.COMPENSATION, kind),
            kind=kind,
            retry=self._retries.read(found.get("retry"), f"{path}.retry"),
            timeout=self._words.duration(found.get("timeout"), f"{path}.timeout"),
        )


def _looks_back(expression: Expression) -> bool:
    """Tells whether a condition asks what became of needed steps."""
    return any(
        reference.root in ("success", "failure") or (reference.root == "steps" and reference.path[2:3] == ("state",))
        for reference in expression.references
    )
