"""Values of the document that may hold `${{ expressions }}`: nodes in, templates out."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from parade_scheduler.expression import VARIABLES, Expression, ExpressionError, end_of_expression
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.template import Template, Text
from parade_scheduler.language.tree import Node

MAX_EXPRESSIONS: Final = 5_000
"""How many different expressions a definition may have."""
MAX_EXPRESSION_TEXT: Final = 256 * 1024
"""How many characters these may have together. Compiled, they take a hundred times as much memory, as long as the definition is known."""
MAX_MACROS: Final = 4_000
"""How many macros they may have together. Each takes up to ten kilobytes."""

_UNKNOWN: Final = re.compile(r"undeclared reference to '(\w+)")
_OPEN: Final = "${{"
_CLOSE: Final = "}}"


@dataclass(frozen=True, slots=True)
class Use:
    """An expression where it stands, to be checked once every step is known."""

    expression: Expression
    field: str
    line: int
    step: str
    """The step before which what it refers to must have ended; empty where all have."""
    names: frozenset[str]
    """The names that may be used there."""


@dataclass(slots=True)
class Values:
    """Reads values and remembers every expression in them."""

    faults: Faults
    uses: list[Use] = field(default_factory=list)
    _known: dict[str, Expression | str] = field(default_factory=dict)
    """The expressions by their texts, or what is wrong with them."""
    _text_left: int = MAX_EXPRESSION_TEXT
    _macros_left: int = MAX_MACROS

    def template(self, node: Node, path: str, step: str, names: frozenset[str]) -> Template:
        """Reads a value of any kind."""
        return Template.of(self._value(node, path, step, names))

    def expression(self, node: Node, path: str, step: str, names: frozenset[str]) -> Expression | None:
        """Reads a text that is an expression, with or without `${{ }}` around it; None, and a fault, where it is none."""
        text = str(node.scalar)
        inside = text.strip()
        if inside.startswith(_OPEN) and end_of_expression(inside, len(_OPEN)) == len(inside) - len(_CLOSE):
            text = inside[len(_OPEN) : -len(_CLOSE)]
        return self._used(text, path, node.text_line, step, names)

    def condition(self, node: Node | None, path: str, step: str, names: frozenset[str]) -> Expression | None:
        """Reads a condition that is computed; None where there is none, or where it is at fault."""
        if node is None:
            return None
        if isinstance(node.scalar, bool):
            return self._used(str(node.scalar).lower(), path, node.line, step, names)
        if not isinstance(node.scalar, str):
            self.faults.add(path, node.line, f"a condition stands here, not {node.kind}", "write an expression, `true` or `false`")
            return None
        return self.expression(node, path, step, names)

    def joined(self, text: str, path: str, line: int) -> Expression | None:
        """Reads an expression that is made of others, each of which has been read where it stands."""
        return self._compiled(text, path, line)

    def secrets(self) -> frozenset[str]:
        """Returns the names of the secrets that any expression refers to."""
        paths = [reference.path for use in self.uses for reference in use.expression.references]
        return frozenset(str(path[1]) for path in paths if path[0] == "secrets" and len(path) > 1)

    def _value(self, node: Node, path: str, step: str, names: frozenset[str]) -> Any:
        if node.entries is not None:
            return {key: self._value(value, f"{path}.{key}", step, names) for key, (_, value) in node.entries.items()}
        if node.items is not None:
            return [self._value(item, f"{path}[{index}]", step, names) for index, item in enumerate(node.items)]
        if isinstance(node.scalar, str) and _OPEN in node.scalar:
            return self._text(node.scalar, node, path, step, names)
        return node.scalar

    def _text(self, text: str, node: Node, path: str, step: str, names: frozenset[str]) -> Any:
        parts: list[str | Expression] = []
        position = counted = 0
        is_block = node.text_line != node.line
        line = node.text_line
        while (start := text.find(_OPEN, position)) >= 0:
            line += text.count("\n", counted, start) if is_block else 0
            counted = start
            end = end_of_expression(text, start + len(_OPEN))
            if end < 0:
                self.faults.add(path, line, f"`{text[start : start + 40]}` is not closed", "an expression ends with `}}`")
                return text
            expression = self._used(text[start + len(_OPEN) : end], path, line, step, names)
            if start > position:
                parts.append(text[position:start])
            if expression is not None:
                parts.append(expression)
            position = end + len(_CLOSE)
        # A block scalar ends with a line break that its author did not mean.
        rest = text[position:]
        if len(parts) == 1 and isinstance(parts[0], Expression) and not rest.strip():
            return parts[0]
        return Text((*parts, rest) if rest else tuple(parts))

    def _used(self, text: str, path: str, line: int, step: str, names: frozenset[str]) -> Expression | None:
        expression = self._compiled(text, path, line)
        if expression is not None:
            self.uses.append(Use(expression, path, line, step, names))
        return expression

    def _compiled(self, text: str, path: str, line: int) -> Expression | None:
        expression = self._known.get(text)
        if expression is None:
            expression = self._known[text] = self._new(text, path, line)
        if isinstance(expression, str):
            self.faults.add(path, line, f"`{text.strip()[:80]}`: {expression}", self._expression_hint(expression))
            return None
        return expression

    def _expression_hint(self, fault: str) -> str:
        """Returns what may have been meant by a name that there is not, or where the language of expressions is described."""
        unknown = _UNKNOWN.search(fault)
        return (self.faults.hint(unknown[1], VARIABLES) if unknown else "") or "expressions are CEL: https://cel.dev"

    def _new(self, text: str, path: str, line: int) -> Expression | str:
        """Compiles an expression; returns what is wrong with it where it cannot be."""
        self._text_left -= len(text)
        if len(self._known) >= MAX_EXPRESSIONS or self._text_left < 0:
            raise self.faults.error(
                path,
                line,
                f"the definition has more than {MAX_EXPRESSIONS:,} different expressions, or more than "
                f"{MAX_EXPRESSION_TEXT // 1024} KiB of them",
                "compute more in functions",
            )
        try:
            expression = Expression(text)
        except ExpressionError as fault:
            return str(fault)
        self._macros_left -= expression.macros
        if self._macros_left < 0:
            raise self.faults.error(path, line, f"the expressions have more than {MAX_MACROS:,} macros", "compute more in functions")
        return expression
