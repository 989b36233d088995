"""Values with `${{ expressions }}` in their texts: read once, filled in as often as needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from parade.wire.errors import ParadeError
from parade_scheduler.expression import Expression


@dataclass(frozen=True, slots=True)
class Text:
    """A text with expressions between its parts. It gives a text."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value in which an `Expression` stands for its value and a `Text` for its text."""

    value: Any
    """Dictionaries, lists and scalars as in JSON, `Expression` and `Text`."""

    def fill(self, bindings: Mapping[str, Any], place: str) -> Any:
        """Returns the value with every expression computed.

        Args:
            bindings: JSON values by name.
            place: Where the value stands, for messages: `steps.clean.with`.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where an expression cannot be computed.
        """
        return _fill(self.value, bindings, place)


def _fill(value: Any, bindings: Mapping[str, Any], place: str) -> Any:
    match value:
        case dict():
            return {key: _fill(item, bindings, f"{place}.{key}") for key, item in value.items()}
        case list():
            return [_fill(item, bindings, f"{place}[{index}]") for index, item in enumerate(value)]
        case Expression():
            return computed(value, bindings, place)
        case Text():
            return "".join(part if isinstance(part, str) else _as_text(computed(part, bindings, place)) for part in value.parts)
        case _:
            return value


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
