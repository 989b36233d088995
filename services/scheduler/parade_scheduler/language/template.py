"""Values with `${{ expressions }}` in their texts: read once, filled in as often as needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import orjson

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.document import MAX_BYTES
from parade_scheduler.expression import Expression

MANY: Final = 64
"""With more expressions than this a value is weighed once it is filled in: each may give as much as may travel."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text with expressions between its parts. It gives a text."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value in which an `Expression` stands for its value and a `Text` for its text."""

    value: Any
    """Dictionaries, lists and scalars as in JSON, `Expression` and `Text`."""
    many: bool = field(default=False, repr=False, compare=False)
    """Whether it has so many expressions that the value is weighed once it is filled in."""

    @classmethod
    def of(cls, value: Any) -> "Template":
        """Makes a template, looking once how many expressions there are."""
        return cls(value, many=any(True for _ in islice(expressions(value), MANY, None)))

    def fill(self, bindings: Mapping[str, Any], place: str) -> Any:
        """Returns the value with every expression computed.

        Args:
            bindings: JSON values by name.
            place: Where the value stands, for messages: `steps.clean.with`.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where an expression cannot be computed, or the value is larger than may travel.
        """
        value = _fill(self.value, bindings, place)
        if self.many:
            _check_weight(value, place)
        return value


def _fill(value: Any, bindings: Mapping[str, Any], place: str) -> Any:
    match value:
        case dict():
            return {key: _fill(item, bindings, f"{place}.{key}") for key, item in value.items()}
        case list():
            return [_fill(item, bindings, f"{place}[{index}]") for index, item in enumerate(value)]
        case Expression():
            return computed(value, bindings, place)
        case Text():
            return _joined(value, bindings, place)
        case _:
            return value


def _joined(text: Text, bindings: Mapping[str, Any], place: str) -> str:
    parts: list[str] = []
    left = MAX_BYTES
    for part in text.parts:
        parts.append(part if isinstance(part, str) else _as_text(computed(part, bindings, place)))
        left -= len(parts[-1])
        if left < 0:
            raise _too_large(place)
    return "".join(parts)


def _check_weight(value: Any, place: str) -> None:
    """Looks whether a value can travel, before it is written out, what is shared by reference again and again.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is larger than may travel.
    """
    left = MAX_BYTES
    remaining = [value]
    while remaining:
        item = remaining.pop()
        left -= 1
        if isinstance(item, str):
            left -= len(item)
        elif isinstance(item, dict):
            remaining.extend(item.values())
            left -= len(item)
        elif isinstance(item, list):
            remaining.extend(item)
        if left < 0:
            raise _too_large(place)


def _too_large(place: str) -> ParadeError:
    return ParadeError(Reason.INVALID_ARGUMENTS, f"{place}: the value is larger than the {MAX_BYTES // 1024 // 1024} MiB that may travel")


def computed(expression: Expression, bindings: Mapping[str, Any], place: str) -> Any:
    """Returns an expression's value.

    Raises:
        ParadeError: INVALID_ARGUMENTS, with `place` in front of the message.
    """
    try:
        return expression.evaluate(bindings)
    except ParadeError as error:
        raise ParadeError(error.reason, f"{place}: {error.message}") from error


def _as_text(value: Any) -> str:
    """Returns a value as it stands within a text: null as nothing, lists and objects as JSON with their keys in order."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def expressions(value: Any) -> Iterator[Expression]:
    """Yields every expression in a template's value."""
    match value:
        case dict():
            for item in value.values():
                yield from expressions(item)
        case list():
            for item in value:
                yield from expressions(item)
        case Expression():
            yield value
        case Text():
            for part in value.parts:
                if isinstance(part, Expression):
                    yield part
