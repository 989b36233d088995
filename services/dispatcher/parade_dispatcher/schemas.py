"""Whether a value is JSON and fits its schema, and if not, where and why. It keeps the compiled schemas.

A schema never makes the dispatcher open a connection: a reference that leads outside is a fault of the schema. A value that is an artifact
is checked by who reads it.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_dispatcher.model import Artifact, Content

if TYPE_CHECKING:
    import jsonschema_rs

MOST_VIOLATIONS = 20
"""Faults named of one value; the first ones."""
LONGEST_DESCRIPTION = 240
"""Characters that the description of a fault has at most: it may quote the value."""

_ANYTHING = b"{}"
_decoded = orjson.loads


class Schemas:
    """Checks values against schemas, which it compiles once each."""

    def __init__(self, largest_value: int, capacity: int = 1024) -> None:
        """Starts with no schema compiled.

        Args:
            largest_value: The bytes that a result may have.
            capacity: How many compiled schemas are kept; the one used longest ago goes first.
        """
        self._largest_value = largest_value
        self._capacity = capacity
        self._compiled: OrderedDict[bytes, jsonschema_rs.Draft202012Validator] = OrderedDict()
        self._is_full = False

    def check_arguments(self, schema: bytes, arguments: Content) -> None:
        """Checks that arguments are a JSON object within the schema.

        Raises:
            ParadeError: INVALID_ARGUMENTS naming each fault; AGENT_ERROR where the schema itself is of no use.
        """
        if isinstance(arguments, Artifact):
            return
        faults = self._faults(schema, arguments, "arguments", True)
        if faults:
            raise invalid(faults, "the arguments do not fit the function")

    def check_result(self, schema: bytes, result: Content, name: str = "result") -> None:
        """Checks that what an agent returned is JSON within its schema.

        Args:
            schema: The schema of the result or of an item.
            result: What was returned.
            name: What to call it: `result` or `item`.

        Raises:
            ParadeError: AGENT_ERROR saying where.
        """
        if isinstance(result, Artifact):
            return
        if len(result) > self._largest_value:
            raise ParadeError(Reason.AGENT_ERROR, f"the {name} has {len(result):,} bytes; a value has at most {self._largest_value:,}")
        faults = self._faults(schema, result, name, False)
        if faults:
            raise ParadeError(Reason.AGENT_ERROR, f"the {name} is outside its schema: {faults[0]}", violations=faults)

    def _faults(self, schema: bytes, data: bytes, name: str, must_be_object: bool) -> Sequence[Violation]:  # noqa: FBT001 - within
        validator = self._compiled.get(schema)
        if validator is None:
            validator = self._made(schema, name)
        elif self._is_full:
            self._compiled.move_to_end(schema)  # the order matters once some must go
        try:
            value = _decoded(data)
        except orjson.JSONDecodeError as error:
            return [Violation(name, f"not valid JSON: {error}")]
        if must_be_object and not isinstance(value, dict):
            return [Violation(name, f"must be a JSON object, not {_kind(value)}")]
        try:
            if validator.is_valid(value):
                return ()
            return list(islice(_violations(validator, value, name), MOST_VIOLATIONS))
        except ValueError as error:  # nested deeper than the validator goes
            return [Violation(name, _short(f"cannot be checked: {error}"))]

    def _made(self, schema: bytes, name: str) -> "jsonschema_rs.Draft202012Validator":
        # Three megabytes, and a dispatcher that has no functions yet needs none of them.
        import jsonschema_rs

        try:
            validator = jsonschema_rs.Draft202012Validator(orjson.loads(schema or _ANYTHING), offline=True)
        except ValueError as error:
            reason = getattr(error, "message", str(error))
            raise ParadeError(Reason.AGENT_ERROR, _short(f"the agent's schema of the {name} is of no use: {reason}")) from error
        self._compiled[schema] = validator
        if len(self._compiled) > self._capacity:
            self._compiled.popitem(last=False)
        self._is_full = len(self._compiled) == self._capacity
        return validator


def _violations(validator: "jsonschema_rs.Draft202012Validator", value: Any, name: str) -> Iterator[Violation]:
    import jsonschema_rs

    for error in validator.iter_errors(value):
        path = _path(name, error.instance_path)
        match error.kind:
            case jsonschema_rs.ValidationErrorKind.Required(property=missing):
                yield Violation(_path(path, [missing]), "is missing")
            case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=unexpected):
                yield from (Violation(_path(path, [key]), "is not known here") for key in unexpected)
            case _:
                yield Violation(path, _short(error.message))


def _path(start: str, parts: list[Any]) -> str:
    for part in parts:
        if isinstance(part, int):
            start += f"[{part}]"
        else:
            start += f".{part}" if part.isidentifier() else f"[{json.dumps(part, ensure_ascii=False)}]"
    return start


def _short(text: str) -> str:
    if len(text) <= LONGEST_DESCRIPTION:
        return text
    half = LONGEST_DESCRIPTION // 2
    return f"{text[:half]} … {text[-half:]}"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "an array"}[type(value)]
