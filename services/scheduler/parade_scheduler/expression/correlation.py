"""By which value an event is told apart: what a condition like `event.order == inputs.order` wants of every event that it holds for.

A run that waits is found by that value, and is not told of the events of all others. It is only a first choice: what it leaves out the
condition cannot hold for, and what it lets through the condition still judges.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import orjson

from parade.wire.errors import ParadeError
from parade_scheduler.expression.expression import Expression, ExpressionError
from parade_scheduler.expression.tokens import CLOSING, OPENING, Token, TokenKind, tokens

EVENT: Final = "event"
"""The variable that stands for the event."""
MAX_TERMS: Final = 500
"""An event with more values than this is told to everybody."""

_KNOWN: Final = frozenset({"inputs", "steps", "item", "index", "run"})
"""What does not change while a task waits, and is on record."""
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})
_LOOSER: Final = frozenset({"||", "?", ":"})
"""What binds less than `&&`: where one stands, no part has to hold."""
_MAX_LENGTH: Final = 200
"""The longest term that stands as it is."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """One part of a condition that compares a value of the event with a known one."""

    path: tuple[str, ...]
    """Where the event has the value."""
    value: Expression
    """What it must be."""

    def term(self, bindings: Mapping[str, Any]) -> str:
        """Returns the term that a wanted event has; empty where that is not known."""
        try:
            return term(self.path, self.value.evaluate(bindings))
        except ParadeError:
            return ""


@lru_cache(maxsize=4096)
def correlation(condition: str) -> Correlation | None:
    """Returns the first part of a condition that tells events apart by a value; None where there is none."""
    words = list(tokens(condition))
    starts = [place for place, word in _outermost(words) if word.text == "&&"]
    if any(word.text in _LOOSER for _, word in _outermost(words)):
        return None
    for start, end in zip([-1, *starts], [*starts, len(words)], strict=True):
        found = _of_part(condition, words[start + 1 : end], words[end].start if end < len(words) else len(condition))
        if found is not None:
            return found
    return None


def term(path: Sequence[str], value: Any) -> str:
    """Returns what stands for a value at a place of an event, equal for values that an expression takes for equal.

    It is empty for lists and objects.
    """
    if isinstance(value, dict | list):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = float(value) + 0.0  # so that 1 and 1.0 are the same, and 0 and -0
    text = f"{'.'.join(path)}={orjson.dumps(value).decode()}"
    return text if len(text.encode()) <= _MAX_LENGTH else f"#{hashlib.sha256(text.encode()).hexdigest()}"


def terms(event: Any) -> list[str] | None:
    """Returns the terms of every value of an event; None where it has too many."""
    found = list(islice(_terms(event, ()), MAX_TERMS + 1))
    return None if len(found) > MAX_TERMS else found


def _terms(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _terms(item, (*path, key))
    elif path and not isinstance(value, list):
        yield term(path, value)


def _outermost(words: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """Yields the words that stand within no bracket, with their places."""
    depth = 0
    for place, word in enumerate(words):
        if word.kind is TokenKind.SIGN and word.text in CLOSING:
            depth -= 1
        if depth == 0:
            yield place, word
        if word.kind is TokenKind.SIGN and word.text in OPENING:
            depth += 1


def _of_part(condition: str, words: Sequence[Token], end: int) -> Correlation | None:
    comparisons = [place for place, word in _outermost(words) if word.kind is not TokenKind.TEXT and word.text in _COMPARISONS]
    if len(comparisons) != 1 or words[comparisons[0]].text != "==":
        return None
    place = comparisons[0]
    left, right = words[:place], words[place + 1 :]
    sides = ((left, right, right[0].start if right else end, end), (right, left, left[0].start if left else 0, words[place].start))
    for here, there, start, stop in sides:
        path = _path(here)
        if path and not any(word.kind is TokenKind.NAME and word.text == EVENT for word in there):
            value = _expression(condition[start:stop])
            if value is not None:
                return Correlation(path, value)
    return None


def _path(words: Sequence[Token]) -> tuple[str, ...]:
    """Returns the path of `event.a.b`; nothing for any other words."""
    names, dots = words[::2], words[1::2]
    if len(names) < 2 or len(dots) != len(names) - 1 or names[0].text != EVENT:
        return ()
    if any(word.kind is not TokenKind.NAME for word in names) or any(word.text != "." for word in dots):
        return ()
    return tuple(word.text for word in names[1:])


def _expression(text: str) -> Expression | None:
    try:
        expression = Expression(text)
    except ExpressionError:
        return None
    return expression if all(reference.root in _KNOWN for reference in expression.references) else None
