"""The query and the path of a request as a JSON document, so that one reader (`transcode`) serves all three places a field can stand in."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from parade.wire.errors import Violation
from parade_gateway.transcode import VALUE, WELL_KNOWN, map_value, parse, suggestion

_BOOLEANS = {"true": True, "false": False}
_TIMESTAMP = "google.protobuf.Timestamp"


def parameters(descriptor: Any, left_out: Iterable[str] = (), prefix: str = "") -> Mapping[str, FieldDescriptor]:
    """Returns what can stand in the query of a request: its fields, and with dotted names those of the messages in it.

    Args:
        descriptor: The request's.
        left_out: Fields that stand elsewhere.
        prefix: What goes before every name.
    """
    found: dict[str, FieldDescriptor] = {}
    excluded = set(left_out)
    for field in descriptor.fields:
        if field.name in excluded or map_value(field) is not None:
            continue
        if field.message_type is None or field.message_type.full_name == VALUE or field.message_type.file.package == WELL_KNOWN:
            found[prefix + field.name] = field
        elif not field.is_repeated:
            found.update(parameters(field.message_type, (), f"{prefix}{field.name}."))
    return found


def document(pairs: Iterable[tuple[str, str]], known: Mapping[str, FieldDescriptor], faults: list[Violation]) -> dict[str, Any]:
    """Reads a query as a JSON document.

    Args:
        pairs: The names and values, decoded, in their order. Names may be the contract's or its camelCase.
        known: What can stand there, from `parameters`.
        faults: Where what is wrong is put.
    """
    result: dict[str, Any] = {}
    by_json_name = {_camel(path): path for path in known}
    for name, text in pairs:
        path = by_json_name.get(name, name)
        field = known.get(path)
        if field is None:
            faults.append(Violation(name, f"there is no such parameter.{suggestion(path, known)}"))
            continue
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        if field.is_repeated:
            place.setdefault(last, []).append(value(text, field))
        elif last in place:
            faults.append(Violation(name, "is given more than once"))
        else:
            place[last] = value(text, field)
    return result


def value(text: str, field: FieldDescriptor) -> Any:
    """Returns what stands in a query or a path as JSON of the field's type; what does not fit stays text, for `transcode` to refuse."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _BOOLEANS.get(text.lower(), text)
    if field.message_type is not None and field.message_type.full_name == VALUE:
        return parse(text.encode())
    if field.message_type is not None and field.message_type.full_name == _TIMESTAMP:
        return text.replace(" ", "+")  # a plus that was not percent-encoded means a space in a query, and never does in a time
    return text


def _camel(name: str) -> str:
    """Returns the JSON name of a field, or of a dotted path of fields."""
    return re.sub(r"_(.)", lambda match: match.group(1).upper(), name)
