"""One expression: compiled once, computed as often as needed. The only place that knows which CEL library there is."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from cel_expr_python import cel

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.expression.references import Reference, read
from parade_scheduler.expression.tokens import tokens
from parade_scheduler.expression.values import NoValueError, extent, plain, pruned, resolve

MAX_LENGTH: Final = 4096
"""The longest expression, in characters."""
MAX_COPIES: Final = 4096
"""How often `map` may repeat a value. CEL shares what is repeated, so that a chain of 28 doublings compares for 22 seconds."""
MAX_JOINS: Final = 64
"""How much longer `+` may make a text or list. CEL copies what is joined: a chain of 20 doublings makes a gigabyte out of a kilobyte."""
MAX_JOINED_BYTES: Final = 256 * 1024 * 1024
"""How much `+` may join within macros, for the values at hand: there it joins anew for every item."""
MAX_ITERATIONS: Final = 10_000
"""How often the macros of a computation may turn together; CEL gives up there."""

VARIABLES: Final = (
    "inputs",
    "steps",
    "item",
    "index",
    "run",
    "success",
    "failure",
    "env",
    "secrets",
    "event",
    "output",
)
"""Every name that some expression may use. Which of them a place of the definition offers is for the language to say."""

_PLACE: Final = re.compile(r"<input>:(-?\d+):(-?\d+): ([^\n]*)")


class ExpressionError(ValueError):
    """An expression that cannot be; its text says why."""


class Expression:
    """A CEL expression.

    CEL bounds nesting (32) and the steps of a computation (10,000 iterations) itself; this class adds the bounds that it lacks.
    """

    def __init__(self, text: str) -> None:
        """Compiles an expression.

        Raises:
            ExpressionError: It is empty, too long, wrong, or could blow up.
        """
        self.text = text.strip()
        if not self.text:
            raise ExpressionError("there is no expression here")
        if len(self.text) > MAX_LENGTH:
            raise ExpressionError(f"an expression has at most {MAX_LENGTH:,} characters, this has {len(self.text):,}")
        reading = read(list(tokens(self.text)))
        if reading.copies > MAX_COPIES or reading.joins > MAX_JOINS:
            raise ExpressionError("its `map`s repeat or join a value too often; do this in a function")
        self.macros = reading.macros
        """How many macros it has: each takes some kilobytes."""
        self.references: tuple[Reference, ...] = reading.references
        self._reading = reading
        self._compiled = _compiled(self.text)
        self._paths = tuple({reference.path for reference in self.references})
        self._whole = next((reference.path for reference in self.references if reference.whole), None)

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """Computes the value.

        Args:
            bindings: JSON values by name, nested no deeper than a JSON decoder allows (1,024).

        Raises:
            ParadeError: INVALID_ARGUMENTS, where it cannot be computed from these values.
        """
        try:
            if self._whole is not None:
                return resolve(bindings, self._whole)
            data = pruned(bindings, self._paths)
            if self._reading.repeated_joins and self._joined(data) > MAX_JOINED_BYTES:
                raise NoValueError("it may join more than fits into memory; do this in a function")
            return plain(self._compiled.eval(data=data))
        except (NoValueError, RuntimeError) as error:
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"`{_shortened(self.text)}` cannot be computed: {error}") from error

    def _joined(self, data: Mapping[str, Any]) -> int:
        """Returns how many bytes the `+` within its macros may make together."""
        # A list or text may stand in the expression itself.
        largest = longest = len(self.text)
        for reference in self.references:
            size, count = extent(data, reference)
            largest, longest = max(largest, size), max(longest, count)
        turns: int = min(MAX_ITERATIONS, longest**self._reading.depth)
        return turns * self._reading.repeated_joins * self._reading.joins * largest

    def __repr__(self) -> str:
        """Shows the text."""
        return f"Expression({self.text!r})"


@cache
def _environment() -> "cel.Env":
    return cel.NewEnv(variables=dict.fromkeys(VARIABLES, cel.Type.DYN))


def _compiled(text: str) -> "cel.Expression":
    try:
        return _environment().compile(text)
    except RuntimeError as error:
        raise ExpressionError(_explained(str(error))) from error


def _explained(error: str) -> str:
    """Returns the first fault of CEL's report in one line, with its place."""
    place = _PLACE.search(error)
    if place is None:
        return "it is nested too deeply" if "recursion limit" in error else error.split("\n", 1)[0]
    line, column, message = int(place[1]), int(place[2]), place[3]
    if "recursion depth" in message:
        return "it is nested too deeply"
    message = (
        message.split(" expecting {", 1)[0].replace(" (in container '')", "").replace("mismatched input '<EOF>'", "the end comes too early")
    )
    if line < 1:
        return message
    return f"column {column}: {message}" if line == 1 else f"line {line}, column {column}: {message}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
