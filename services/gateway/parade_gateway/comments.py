"""What the contracts say about themselves: the comment over every service, RPC, message, field and enum value, by full name."""

from collections.abc import Iterator
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

_PLACES: dict[tuple[str, int], tuple[str, str]] = {
    ("file", 4): ("message_type", "message"),
    ("file", 5): ("enum_type", "enum"),
    ("file", 6): ("service", "service"),
    ("message", 2): ("field", "field"),
    ("message", 3): ("nested_type", "message"),
    ("message", 4): ("enum_type", "enum"),
    ("enum", 2): ("value", "value"),
    ("service", 2): ("method", "method"),
}
"""Where a number in the path of a comment leads, by what it stands in. Source: `SourceCodeInfo.Location.path` of descriptor.proto."""


class Comments:
    """The comments of the contracts."""

    def __init__(self) -> None:
        """Reads them from the descriptors that lie beside the generated code."""
        content = (resources.files("parade.v1") / "descriptors.binpb").read_bytes()
        files = [file for file in FileDescriptorSet.FromString(content).file if file.package == "parade.v1"]
        self._texts = {name: text for file in files for name, text in _comments(file)}

    def of(self, full_name: str) -> str:
        """Returns the comment over a thing; empty where it has none."""
        return self._texts.get(full_name, "")


def _comments(file: Any) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = _full_name(file, location.path) if location.leading_comments else ""
        if name:
            yield name, "\n".join(line.removeprefix(" ").rstrip() for line in location.leading_comments.strip().splitlines())


def _full_name(file: Any, path: Any) -> str:
    thing, kind, parts = file, "file", [file.package]
    for number, index in zip(path[::2], path[1::2], strict=len(path) % 2 == 0):
        if (kind, number) not in _PLACES:
            return ""
        attribute, kind = _PLACES[kind, number]
        thing = getattr(thing, attribute)[index]
        parts.append(thing.name)
    return ".".join(parts) if len(path) % 2 == 0 else ""
