"""Protobuf and JSON: the proto3 JSON mapping, except that a `parade.v1.Value` stands in the document as its own JSON.

Source of the mapping: https://protobuf.dev/programming-guides/json/. Reading names every fault at once; writing shows fields
that have no presence also where they are empty, so that a list without entries is `[]`.
"""

import base64
import binascii
import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import orjson
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from parade.v1 import value_pb2
from parade.wire.errors import ParadeError, Reason, Violation, invalid

VALUE = value_pb2.Value.DESCRIPTOR.full_name
WELL_KNOWN = "google.protobuf"
"""The package whose messages have a JSON form of their own."""
JSON_TYPES = ("", "application/json")

_LONG = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_FLOATING = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})
_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_EXPECTED = {
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_INT32: "a whole number of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "a whole number of 64 bits, best as text",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number of 32 bits, not negative",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number of 64 bits, not negative, best as text",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_STRING: "text",
}
_EXPECTED_MESSAGE = {
    "google.protobuf.Duration": 'a duration in seconds, as "5s" or "0.25s"',
    "google.protobuf.Timestamp": 'a time after RFC 3339, as "2026-01-31T09:30:00Z"',
}


def encode(message: Message) -> bytes:
    """Writes a message as one line of JSON.

    Raises:
        ParadeError: INTERNAL where a value in it claims to be JSON and is not.
    """
    # A newline in JSON stands between tokens only, where a space does as well: values stand here as they came, some of them indented.
    return orjson.dumps(_tree(message)).replace(b"\n", b" ").replace(b"\r", b" ")


def parse(body: bytes) -> Any:
    """Reads a JSON document; an empty one counts as an object without fields.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it is not JSON.
    """
    if not body:
        return {}
    try:
        # The standard library keeps whole numbers of any size, which orjson turns into floats.
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        fault = Violation("body", f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}", error.lineno)
    except RecursionError:
        fault = Violation("body", "is nested too deeply")
    except ValueError as error:
        fault = Violation("body", f"is not JSON in UTF-8: {error}")
    raise invalid([fault], "the request's body cannot be read")


def decode(document: Any, message: Message) -> None:
    """Reads a JSON document into a message.

    Raises:
        ParadeError: INVALID_ARGUMENTS with every fault.
    """
    faults: list[Violation] = []
    _message(document, message, "", faults)
    if faults:
        raise invalid(faults)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns a question that names what was probably meant, with a space before it; empty where nothing comes near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]}?"
    return f" There are: {', '.join(sorted(names))}." if names else ""


@cache
def names_of(descriptor: Any) -> Mapping[str, FieldDescriptor]:
    """Returns a message's fields by the names that JSON may give them: the contract's and its camelCase."""
    return {name: field for field in descriptor.fields for name in (field.json_name, field.name)}


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Returns what the values of a map are; None for a field that is no map."""
    if field.message_type is None or not field.message_type.GetOptions().map_entry:
        return None
    return field.message_type.fields_by_name["value"]


def _tree(message: Message) -> Any:
    descriptor = message.DESCRIPTOR
    if isinstance(message, value_pb2.Value):
        if message.HasField("artifact"):
            return {"artifact": _tree(message.artifact)}
        if message.media_type in JSON_TYPES:
            return _fragment(message.data)
    if descriptor.file.package == WELL_KNOWN:
        return MessageToDict(message)
    return {
        field.json_name: _field_tree(field, getattr(message, field.name))
        for field in descriptor.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field_tree(field: Any, content: Any) -> Any:
    value_field = map_value(field)
    if value_field is not None:
        return {_key(key): _item_tree(value_field, content[key]) for key in content}
    if field.is_repeated:
        return [_item_tree(field, item) for item in content]
    return _item_tree(field, content)


def _item_tree(field: FieldDescriptor, item: Any) -> Any:
    if field.message_type is not None:
        return _tree(item)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(item)
        return named.name if named is not None else item
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    if field.cpp_type in _LONG:
        return str(item)
    if field.cpp_type in _FLOATING and item - item != 0:
        return "NaN" if item != item else "Infinity" if item > 0 else "-Infinity"  # noqa: PLR0124
    return item


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _fragment(data: bytes) -> Any:
    if not data:
        return None
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ParadeError(Reason.INTERNAL, f"the mesh answered with a value that is not JSON: {error}") from error
    return orjson.Fragment(data)


def _message(document: Any, message: Message, path: str, faults: list[Violation]) -> None:
    if not isinstance(document, dict):
        faults.append(Violation(path or "body", "must be a JSON object"))
        return
    names = names_of(message.DESCRIPTOR)
    given: dict[str, str] = {}
    for key, content in document.items():
        field = names.get(key)
        place = f"{path}.{key}" if path else key
        if field is None:
            faults.append(Violation(place, f"there is no such field.{suggestion(key, (each.name for each in message.DESCRIPTOR.fields))}"))
            continue
        if content is None and (field.is_repeated or not _is_value(field)):
            continue
        slot = field.containing_oneof.name if field.containing_oneof is not None else field.name
        if slot in given:
            faults.append(Violation(place, f"cannot be given together with {given[slot]}"))
            continue
        given[slot] = key
        _field(content, field, message, place, faults)


def _field(content: Any, field: FieldDescriptor, message: Message, path: str, faults: list[Violation]) -> None:
    value_field = map_value(field)
    if value_field is not None:
        if not isinstance(content, dict):
            faults.append(Violation(path, "must be a JSON object"))
            return
        for key, item in content.items():
            place = f"{path}.{key}"
            if _is_open(value_field):
                _item(item, value_field, getattr(message, field.name)[key], place, faults)
            else:
                _leaf({key: _plain(item, value_field)}, field, message, place, faults, expected=value_field)
    elif field.is_repeated:
        if not isinstance(content, list):
            faults.append(Violation(path, "must be a list"))
            return
        for index, item in enumerate(content):
            place = f"{path}[{index}]"
            if _is_open(field):
                _item(item, field, getattr(message, field.name).add(), place, faults)
            else:
                _leaf([_plain(item, field)], field, message, place, faults)
    elif _is_open(field):
        inner = getattr(message, field.name)
        inner.SetInParent()
        _item(content, field, inner, path, faults)
    else:
        _leaf(_plain(content, field), field, message, path, faults)


def _item(content: Any, field: FieldDescriptor, message: Any, path: str, faults: list[Violation]) -> None:
    if not _is_value(field):
        _message(content, message, path, faults)
        return
    message.data = item_bytes(content, path, faults) or b""


def item_bytes(content: Any, path: str, faults: list[Violation]) -> bytes | None:
    """Returns a JSON value as bytes; None where it cannot be written, and a fault then says why."""
    try:
        return _write(content).encode("utf-8")
    except RecursionError:
        faults.append(Violation(path, "is nested too deeply"))
    except UnicodeEncodeError:
        faults.append(Violation(path, "holds half of a surrogate pair, which is no text"))
    except ValueError:
        faults.append(Violation(path, "holds a number that is too large"))
    return None


def _leaf(
    content: Any, field: FieldDescriptor, message: Message, path: str, faults: list[Violation], expected: FieldDescriptor | None = None
) -> None:
    """Reads what has no fields of its own, by protobuf's rules."""
    read = type(message)()
    try:
        ParseDict({field.name: content}, read)
    except (ParseError, binascii.Error, OverflowError):
        faults.append(Violation(path, _expected(content, expected or field)))
        return
    message.MergeFrom(read)


def _expected(content: Any, field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        name = str(content[0] if isinstance(content, list) else content).upper()
        full = [each.name for each in field.enum_type.values]
        short = [short_name(each, field.enum_type) for each in full]
        prefixed = name.startswith(full[0].removesuffix(short[0]))
        return f"is none of its values.{suggestion(name, full if prefixed else short)}"
    if field.message_type is not None:
        return f"must be {_EXPECTED_MESSAGE.get(field.message_type.full_name, 'of another form')}"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "must be text in base64"
    return f"must be {_EXPECTED[field.cpp_type]}"


def short_name(name: str, enum: EnumDescriptor) -> str:
    """Returns an enum value's name without the prefix that all of its enum share."""
    return name.removeprefix(enum.values[0].name.removesuffix("UNSPECIFIED"))


def _plain(content: Any, field: FieldDescriptor) -> Any:
    """Returns what protobuf's rules accept: the full name of an enum's value for its short name."""
    if field.enum_type is None or not isinstance(content, str) or content in field.enum_type.values_by_name:
        return content
    upper = content.upper()
    return next((each.name for each in field.enum_type.values if upper in (each.name, short_name(each.name, field.enum_type))), content)


def _is_value(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == VALUE


def _is_open(field: FieldDescriptor) -> bool:
    """Tells whether each item of a field is read here: a value, or a message with fields."""
    return field.message_type is not None and field.message_type.file.package != WELL_KNOWN


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
