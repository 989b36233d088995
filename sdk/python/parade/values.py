"""Python values as JSON in a `parade.v1.Value`, and back."""

import dataclasses
from typing import Any

import orjson

from parade.v1 import value_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason, Violation

JSON = "application/json"


def encode(value: Any, name: str = "value") -> value_pb2.Value:
    """Encodes a value: what JSON knows, dataclasses, pydantic models, dates, UUIDs and enums.

    Args:
        value: The value.
        name: What to call it in an error.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it has no JSON form or is larger than 4 MiB.
    """
    try:
        data = orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the {name} cannot be sent", violations=[Violation(name, str(error))]) from error
    check_size(data, name)
    return value_pb2.Value(data=data)


def decode(value: value_pb2.Value) -> Any:
    """Decodes a value; an empty one is None.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it is not JSON.
    """
    if not value.data:
        return None
    if value.media_type not in ("", JSON):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"a value of media type {value.media_type} is not understood; send {JSON}")
    try:
        return orjson.loads(value.data)
    except orjson.JSONDecodeError as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the value is not JSON: {error}") from error


def check_size(data: bytes, name: str) -> None:
    """Refuses what is too large to travel.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    if len(data) > MAX_VALUE_BYTES:
        sizes = f"is {len(data) / 2**20:.1f} MiB; at most {MAX_VALUE_BYTES // 2**20} MiB can be sent"
        fault = f"{sizes}. Put it in a file or a store and send where it is."
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the {name} is too large", violations=[Violation(name, fault)])


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
