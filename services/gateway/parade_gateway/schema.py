"""JSON Schemas of the messages, as their JSON is written and read by `transcode`."""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from parade_gateway.comments import Comments
from parade_gateway.transcode import VALUE, map_value

REFERENCE = "#/components/schemas/"

_PLAIN: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "description": "A whole number, as text."},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "description": "A whole number, as text."},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_WELL_KNOWN: dict[str, dict[str, Any]] = {
    VALUE: {
        "description": 'Any JSON value. One that is too large to stand here is `{"artifact": {…}}`, to be fetched by its digest.',
        "example": {},
    },
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$", "example": "5s"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}


class Schemas:
    """The schemas that a document needs, collected as they are asked for."""

    def __init__(self, comments: Comments) -> None:
        """Takes what the contracts say about themselves."""
        self._comments = comments
        self.components: dict[str, Any] = {}

    def message(self, descriptor: Descriptor, left_out: Collection[str] = ()) -> dict[str, Any]:
        """Returns a reference to the schema of a message.

        Args:
            descriptor: The message.
            left_out: Fields that stand elsewhere, for the body of a request.
        """
        if descriptor.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[descriptor.full_name])
        name = descriptor.full_name.removeprefix(f"{descriptor.file.package}.")
        if name not in self.components:
            self.components[name] = {}  # a message may hold itself
            properties = {field.json_name: self.field(field) for field in descriptor.fields if field.name not in left_out}
            self.components[name] = self._described({"type": "object", "properties": properties}, descriptor.full_name)
        return {"$ref": REFERENCE + name}

    def field(self, field: FieldDescriptor) -> dict[str, Any]:
        """Returns the schema of a field, with its comment."""
        schema: dict[str, Any]
        value = map_value(field)
        if value is not None:
            schema = {"type": "object", "additionalProperties": self._item(value)}
        elif field.is_repeated:
            schema = {"type": "array", "items": self._item(field)}
        else:
            schema = self._item(field)
        if "$ref" in schema:
            schema = {"allOf": [schema]}
        return self._described(schema, field.full_name)

    def _item(self, field: FieldDescriptor) -> dict[str, Any]:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_PLAIN[field.type])

    def _enum(self, descriptor: EnumDescriptor) -> dict[str, Any]:
        name = descriptor.full_name.removeprefix(f"{descriptor.file.package}.")
        if name not in self.components:
            lines = [self._comments.of(descriptor.full_name), ""]
            lines += [f"- `{value.name}`: {self._comments.of(f'{descriptor.full_name}.{value.name}')}" for value in descriptor.values]
            values = [value.name for value in descriptor.values]
            self.components[name] = {"type": "string", "enum": values, "description": "\n".join(lines)}
        return {"$ref": REFERENCE + name}

    def _described(self, schema: Mapping[str, Any], full_name: str) -> dict[str, Any]:
        comment = self._comments.of(full_name)
        return {**schema, "description": comment} if comment else dict(schema)
