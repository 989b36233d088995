"""A JSON value in its encoded form, decoded only when somebody looks inside. It knows no schema."""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from parade.wire.errors import ParadeError, Reason

MAX_BYTES: Final = 4 * 1024 * 1024
"""The largest value that may travel, encoded."""

_TYPE_NAMES: Final = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
"""What messages call the values of each Python type."""


def type_name(value: object) -> str:
    """Returns what a message calls the type of a JSON value."""
    return "null" if value is None else _TYPE_NAMES.get(type(value), type(value).__name__)


class Document:
    """An encoded JSON value. Equal when encoded alike; treat what `value` returns as read-only, for it is shared."""

    __slots__ = ("_decoded", "_value", "data")

    def __init__(self, data: bytes) -> None:
        """Takes encoded JSON, which is not looked at."""
        self.data = data
        self._decoded = False
        self._value: Any = None

    @classmethod
    def of(cls, value: Any) -> "Document":
        """Encodes a value.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is no JSON, is nested too deeply or is larger than `MAX_BYTES`.
        """
        try:
            document = cls(orjson.dumps(value))
        except TypeError as error:
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"this value cannot be written as JSON: {error}") from error
        document.check_size()
        return document

    @classmethod
    def joined(cls, documents: Iterable["Document"]) -> "Document":
        """Makes a list of values without decoding them."""
        return cls(b"[" + b",".join(document.data for document in documents) + b"]")

    @property
    def value(self) -> Any:
        """The value, decoded once.

        Raises:
            ParadeError: INVALID_ARGUMENTS where the data is no JSON.
        """
        if not self._decoded:
            try:
                self._value = orjson.loads(self.data)
            except orjson.JSONDecodeError as error:
                raise ParadeError(Reason.INVALID_ARGUMENTS, f"this is not JSON: {error}") from error
            self._decoded = True
        return self._value

    def check_size(self) -> None:
        """Raises INVALID_ARGUMENTS where the value is larger than `MAX_BYTES`."""
        if len(self.data) > MAX_BYTES:
            size = f"{len(self.data) / 1024 / 1024:.1f} MiB"
            raise ParadeError(
                Reason.INVALID_ARGUMENTS, f"this value has {size} as JSON; at most {MAX_BYTES // 1024 // 1024} MiB may travel"
            )

    def __eq__(self, other: object) -> bool:
        """Compares the encoded forms."""
        return isinstance(other, Document) and self.data == other.data

    def __hash__(self) -> int:
        """Hashes the encoded form."""
        return hash(self.data)

    def __repr__(self) -> str:
        """Shows the beginning of the encoded form."""
        return f"Document({self.data[:80]!r})"
