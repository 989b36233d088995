"""Renders the reference of the API from the descriptors of the contracts, which carry the comments of the protos.

Knows how a service, an RPC, a message and an enum look on the page. It knows no service by name.
"""

from collections.abc import Iterator
from importlib import resources

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from parade.v1 import access_pb2

PACKAGE = "parade.v1"

Path = tuple[int, ...]
"""Where something stands in its file, as `SourceCodeInfo` of descriptor.proto counts it."""

_FILE = FileDescriptorProto.DESCRIPTOR.fields_by_name
_MESSAGE = DescriptorProto.DESCRIPTOR.fields_by_name
MESSAGES = _FILE["message_type"].number
ENUMS = _FILE["enum_type"].number
SERVICES = _FILE["service"].number
FIELDS = _MESSAGE["field"].number
NESTED_MESSAGES = _MESSAGE["nested_type"].number
NESTED_ENUMS = _MESSAGE["enum_type"].number
METHODS = ServiceDescriptorProto.DESCRIPTOR.fields_by_name["method"].number
VALUES = EnumDescriptorProto.DESCRIPTOR.fields_by_name["value"].number

INTRODUCTION = """\
# API reference

<!-- Generated from protos/parade/v1 by `make docs`. Change it there. -->

Every service of the mesh, by the file of `protos/parade/v1` that declares it. A method admits the callers named with it and nobody else.
Clients, and who reaches it through the gateway, must have the role named with it, or one above it, in the namespace (see
[access](../how-to/access.md)).
Where it has a REST route, the gateway serves it there, with the fields of the path and of the query or body by their names in JSON.
"""


def render() -> str:
    """Returns the page, in Markdown."""
    descriptors = FileDescriptorSet.FromString((resources.files(PACKAGE) / "descriptors.binpb").read_bytes())
    files = [_FilePage(file) for file in descriptors.file if file.package == PACKAGE]
    # Services first: they are what a reader looks for, and their messages follow in the same section.
    files.sort(key=lambda page: (not page.file.service, page.file.name))
    lines = [INTRODUCTION, *(line for page in files for line in page.contents()), ""]
    lines.extend(line for page in files for line in page.lines())
    return "\n".join(lines).rstrip() + "\n"


class _FilePage:
    """The section of one proto file."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self.comments = {tuple(at.path): _text(at.leading_comments) for at in file.source_code_info.location}

    def contents(self) -> Iterator[str]:
        """Yields the file's entry in the table of contents."""
        title = self.file.name.rsplit("/", 1)[1]
        yield f"- [{title}](#{_anchor(title)})"
        for service in self.file.service:
            methods = ", ".join(f"[{method.name}](#{_anchor(service.name + method.name)})" for method in service.method)
            yield f"  - [{service.name}](#{_anchor(service.name)}): {methods}"

    def lines(self) -> Iterator[str]:
        """Yields the section: services, then messages, then enums, in the order of the file."""
        yield f"## {self.file.name.rsplit('/', 1)[1]}\n"
        for index, service in enumerate(self.file.service):
            yield from self._service(service, (SERVICES, index))
        for index, message in enumerate(self.file.message_type):
            yield from self._message(message, (MESSAGES, index), message.name)
        for index, enum in enumerate(self.file.enum_type):
            yield from self._enum(enum, (ENUMS, index), enum.name)

    def _service(self, service: ServiceDescriptorProto, path: Path) -> Iterator[str]:
        yield f"### {service.name}\n"
        yield f"{self.comments[path]}\n"
        for index, method in enumerate(service.method):
            yield from self._method(service.name, method, (*path, METHODS, index))

    def _method(self, service: str, method: MethodDescriptorProto, path: Path) -> Iterator[str]:
        request = ("stream " if method.client_streaming else "") + _type_link(method.input_type)
        response = ("stream " if method.server_streaming else "") + _type_link(method.output_type)
        yield f"#### {service}.{method.name}\n"
        yield f"- Takes {request}, returns {response}"
        for route in _routes(method):
            yield f"- REST: `{route}`"
        yield f"- Callers: {_callers(method)}"
        if role := _role(method):
            yield f"- Role: {role}"
        yield ""
        yield f"{self.comments[path]}\n"

    def _message(self, message: DescriptorProto, path: Path, name: str) -> Iterator[str]:
        yield f"### {name}\n"
        yield f"{self.comments[path]}\n"
        if message.field:
            yield "| field | type | |"
            yield "|---|---|---|"
            for index, field in enumerate(message.field):
                yield f"| `{field.name}` | {_field_type(message, field)} | {_cell(self.comments[*path, FIELDS, index])} |"
            yield ""
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._message(nested, (*path, NESTED_MESSAGES, index), f"{name}.{nested.name}")
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, NESTED_ENUMS, index), f"{name}.{enum.name}")

    def _enum(self, enum: EnumDescriptorProto, path: Path, name: str) -> Iterator[str]:
        yield f"### {name}\n"
        yield f"{self.comments[path]}\n"
        yield "| value | number | |"
        yield "|---|---|---|"
        for index, value in enumerate(enum.value):
            yield f"| `{value.name}` | {value.number} | {_cell(self.comments[*path, VALUES, index])} |"
        yield ""


def _routes(method: MethodDescriptorProto) -> Iterator[str]:
    """Yields the REST routes of a method, such as "GET /v1/agents"."""
    if not method.options.HasExtension(annotations_pb2.http):
        return
    rule = method.options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb is not None:
            yield f"{verb.upper()} {getattr(binding, verb)}"


def _callers(method: MethodDescriptorProto) -> str:
    """Names the callers that a method admits."""
    kinds = method.options.Extensions[access_pb2.callers]
    return ", ".join(access_pb2.CallerKind.Name(kind).removeprefix("CALLER_KIND_").lower() for kind in kinds)


def _role(method: MethodDescriptorProto) -> str:
    """Names the role that a method demands of clients, and of whom the gateway acts for; empty where it demands none."""
    role = method.options.Extensions[access_pb2.role]
    return "" if role in (access_pb2.ROLE_UNSPECIFIED, access_pb2.ROLE_NONE) else access_pb2.Role.Name(role).removeprefix("ROLE_").lower()


def _field_type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """Names the type of a field as its declaration does."""
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        return f"map of {_scalar_or_link(key)} to {_scalar_or_link(value)}"
    name = _scalar_or_link(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    if field.proto3_optional:
        return f"optional {name}"
    if field.HasField("oneof_index"):
        return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return name


def _scalar_or_link(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _type_link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _type_link(type_name: str) -> str:
    """Links a type of the contracts to its section; a type from elsewhere is named in full."""
    prefix = f".{PACKAGE}."
    if not type_name.startswith(prefix):
        return f"`{type_name.lstrip('.')}`"
    name = type_name.removeprefix(prefix)
    return f"[{name}](#{_anchor(name)})"


def _anchor(heading: str) -> str:
    """Returns what a heading is linked by: its letters, digits and underscores in lower case, as GitHub and most renderers do."""
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter == "_")


def _text(comment: str) -> str:
    """Takes the space after each `//` out of a comment, and what is said to the linter."""
    lines = [line.removeprefix(" ") for line in comment.rstrip("\n").split("\n")]
    return "\n".join(line for line in lines if not line.startswith("buf:lint:"))


def _cell(text: str) -> str:
    """Makes text fit in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
