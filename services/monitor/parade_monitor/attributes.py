"""OpenTelemetry's attributes as JSON, within bounds: what is too long is cut, what is too much is left out and counted."""

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

MAX_TEXT = 4096
"""Characters of one text."""
MAX_KEY = 256
"""Characters of a key."""
MAX_NAME = 128
"""Characters of a name or an id."""
MAX_ATTRIBUTES = 128
"""Attributes of one record."""
MAX_ITEMS = 128
"""Items of one list or object within a value."""
MAX_DEPTH = 6
"""Lists and objects within each other."""
MAX_JSON_BYTES = 16 * 1024
"""Bytes of all attributes of one record."""
DROPPED = "dropped_attributes_count"
"""The key under which it is said how many attributes were left out, here or by the sender: OpenTelemetry's name for it."""


def clipped(text: str, limit: int = MAX_TEXT) -> str:
    """Returns a text without what databases refuse (PostgreSQL knows no NUL), cut to `limit` characters."""
    return text[:limit].replace("\x00", "\N{REPLACEMENT CHARACTER}")


def texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Returns the attributes whose values are texts, for looking names up."""
    return {
        attribute.key: clipped(attribute.value.string_value, MAX_NAME)
        for attribute in attributes
        if attribute.value.HasField("string_value")
    }


def to_json(attributes: Iterable[KeyValue], dropped: int = 0) -> str:
    """Encodes attributes as a JSON object.

    Args:
        attributes: The attributes. Of two with one key the first counts.
        dropped: How many the sender has left out.
    """
    kept: dict[str, Any] = {}
    room = MAX_JSON_BYTES
    for attribute in attributes:
        key = clipped(attribute.key, MAX_KEY)
        encoded = orjson.dumps(to_value(attribute.value))
        size = len(encoded) + len(key.encode())
        if not key or key in kept or size > room or len(kept) == MAX_ATTRIBUTES:
            dropped += 1
            continue
        kept[key] = orjson.Fragment(encoded)
        room -= size
    if dropped:
        kept[DROPPED] = dropped
    return orjson.dumps(kept).decode()


def to_text(value: AnyValue) -> str:
    """Returns a value as text: a text as it is, anything else as JSON."""
    plain = to_value(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else clipped(orjson.dumps(plain).decode())


def to_value(value: AnyValue, depth: int = 0) -> Any:
    """Returns a value as JSON has it; bytes become base64, and what is nested too deeply null."""
    match value.WhichOneof("value"):
        case "string_value":
            return clipped(value.string_value)
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value[:MAX_TEXT]).decode()
        case "array_value" if depth < MAX_DEPTH:
            return [to_value(item, depth + 1) for item in value.array_value.values[:MAX_ITEMS]]
        case "kvlist_value" if depth < MAX_DEPTH:
            return {clipped(item.key, MAX_KEY): to_value(item.value, depth + 1) for item in value.kvlist_value.values[:MAX_ITEMS]}
    return None
