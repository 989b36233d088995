"""Python values as JSON in a `parade.v1.Value`, and back. What is too large to travel whole is the affair of `parade.artifacts`."""

import dataclasses
from typing import Any

import orjson

from parade.artifact import Named
from parade.v1 import value_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason, Violation, invalid

JSON = "application/json"


def dumps(value: Any, name: str = "value") -> bytes:
    """Encodes a value as JSON: what JSON knows, dataclasses, pydantic models, artifacts, dates, UUIDs and enums.

    Args:
        value: The value.
        name: What to call it in an error.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it has no JSON form.
    """
    try:
        return orjson.dumps(value, _plain, orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the {name} cannot be sent", violations=[Violation(name, str(error))]) from error


def loads(data: bytes) -> Any:
    """Decodes JSON; nothing is None.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it is not JSON.
    """
    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the value is not JSON: {error}") from error


def encode(value: Any, name: str = "value") -> value_pb2.Value:
    """Encodes a value that travels whole. Arguments and errors are those of `dumps`; more than 4 MiB are refused as well."""
    data = dumps(value, name)
    if len(data) > MAX_VALUE_BYTES:
        fault = f"is {len(data) / 2**20:.1f} MiB; at most {MAX_VALUE_BYTES // 2**20} MiB can be sent. Put it as an artifact and send that."
        raise invalid([Violation(name, fault)], f"the {name} is too large")
    return value_pb2.Value(data=data)


def decode(value: value_pb2.Value) -> Any:
    """Decodes a value that travelled whole; an empty one is None, and one that is an artifact the artifact's JSON form.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it is not JSON.
    """
    if value.media_type not in ("", JSON):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"a value of media type {value.media_type} is not understood; send {JSON}")
    if value.HasField("artifact"):
        named = value.artifact
        return {"artifact": {"digest": named.digest, "size": named.size, "media_type": named.media_type}}
    return loads(value.data)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Named):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
