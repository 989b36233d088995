"""Messages of `parade.v1` as plain values for JSON and YAML, named as REST names them.

As in the proto3 JSON mapping (https://protobuf.dev/programming-guides/json/), except that a `Value` stands as what it holds, the name of an
enum's value has no prefix, and whole numbers of 64 bits are numbers.
"""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from parade import values
from parade.v1 import value_pb2


def plain(message: Message) -> Any:
    """Returns a message as plain values. A message within that is not set is left out."""
    match message:
        case value_pb2.Value():
            return values.decode(message)
        case Timestamp():
            return message.ToJsonString()
        case Duration():
            return message.ToJsonString()
    return {
        field.json_name: _field(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def state_name(message: Message, field: str = "state") -> str:
    """Returns the name of an enum's value without the prefix of its enum, for example `READY`."""
    return str(_item(message.DESCRIPTOR.fields_by_name[field], getattr(message, field)))


def local_time(timestamp: Timestamp) -> datetime:
    """Returns a time as clocks here show it."""
    return timestamp.ToDatetime(UTC).astimezone()


def _field(field: Any, content: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {str(key): _item(field.message_type.fields_by_name["value"], item) for key, item in sorted(content.items())}
    if field.is_repeated:
        return [_item(field, item) for item in content]
    return _item(field, content)


def _item(field: Any, item: Any) -> Any:
    if field.enum_type is not None:
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        known = field.enum_type.values_by_number.get(item)
        return known.name.removeprefix(prefix) if known else item
    return plain(item) if isinstance(item, Message) else item
