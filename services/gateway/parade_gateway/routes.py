"""The routes: which HTTP request means which RPC, read from the `google.api.http` rules of the contracts.

Source of the rules: https://github.com/googleapis/googleapis/blob/master/google/api/http.proto. Of them Parade uses templates
of literals and `{field}`, with a `:verb` at the end, and the bodies `*` and none; a contract that uses another stops the start.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from parade import v1
from parade.v1 import access_pb2
from parade.wire.errors import Reason
from parade.wire.role_numbers import role_of
from parade.wire.roles import Role
from parade_gateway.errors import HttpError

_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_TEMPLATE = re.compile(r"(/([a-z0-9.-]+|\{[a-z][a-z0-9_]*\}))+(:[A-Za-z-]+)?")
SERVED_BY = {"audit": "agent_manager", "key": "agent_manager", "policy": "agent_manager"}
"""Who serves the services whose contracts are not named after it. Where several do, a request names the one that is asked."""
RESUME_FIELD = "after_sequence"
"""The field of a request that says after which number its stream starts."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way in: an HTTP method and a path that mean one RPC."""

    verb: str
    """The HTTP method."""
    template: str
    """The path, for example `/v1/agents/{name}:pause`."""
    method: MethodDescriptor
    """The RPC."""
    has_body: bool
    """Whether the request's other fields are in the body; otherwise they are in the query."""
    pattern: re.Pattern[str]
    """What the undecoded path must look like."""

    @property
    def service(self) -> str:
        """The service behind it, for example `agent_manager`."""
        name = str(self.method.containing_service.file.name).rpartition("/")[2].removesuffix(".proto")
        return SERVED_BY.get(name, name)

    @property
    def rpc(self) -> str:
        """The RPC's full name, `/package.Service/Method`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def role(self) -> Role:
        """The role that it demands."""
        return needed_role(self.method)

    @property
    def path_fields(self) -> list[str]:
        """The request's fields that stand in the path."""
        return _FIELD.findall(self.template)

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return bool(self.method.server_streaming)

    @property
    def numbered(self) -> bool:
        """Whether every message of the stream has an `event.sequence`."""
        event = self.method.output_type.fields_by_name.get("event")
        return event is not None and event.message_type is not None and "sequence" in event.message_type.fields_by_name

    @property
    def resumes(self) -> bool:
        """Whether a broken stream goes on where it broke: its events are numbered, and the request says after which number to start."""
        return self.streams and self.numbered and RESUME_FIELD in self.method.input_type.fields_by_name

    def request(self) -> Any:
        """Returns an empty request."""
        return message_class(self.method.input_type)()


class Routes:
    """Every route, and the search among them."""

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        """Makes the routes of the services' public methods.

        Raises:
            ValueError: A rule is of a form that is not served, names a field that does not exist, or means the same request as another.
        """
        self._routes = [route for service in services for method in service.methods for route in _routes(method)]
        seen: dict[tuple[str, str], str] = {}
        for route in self._routes:
            shape = (route.verb, _FIELD.sub("{}", route.template))
            if shape in seen:
                raise ValueError(f"{route.rpc} and {seen[shape]} have the same route, {route.verb} {route.template}")
            seen[shape] = route.rpc

    def __iter__(self) -> Iterator[Route]:
        """Yields every route."""
        return iter(self._routes)

    def find(self, verb: str, path: str) -> tuple[Route, dict[str, str]]:
        """Returns the route of a request, and the fields in its path.

        Args:
            verb: The HTTP method.
            path: The path, percent-encoded as it came.

        Raises:
            HttpError: 404 where the path is none of ours, 405 where it is and the method is wrong.
        """
        allowed = []
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is None:
                continue
            if route.verb == verb:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
            allowed.append(route.verb)
        if allowed:
            listed = ", ".join(sorted(allowed))
            raise HttpError(405, Reason.INVALID_ARGUMENTS, f"{unquote(path)} takes {listed}, not {verb}", {"allow": listed})
        raise HttpError(404, Reason.NOT_FOUND, f"there is nothing at {unquote(path)}; /docs lists what there is")


def public_services() -> list[ServiceDescriptor]:
    """Returns every service of the contracts, in the order of their files."""
    names = sorted(module.name for module in pkgutil.iter_modules(v1.__path__) if module.name.endswith("_pb2"))
    files = [importlib.import_module(f"{v1.__name__}.{name}").DESCRIPTOR for name in names]
    return [service for file in files for service in file.services_by_name.values()]


def needed_role(method: MethodDescriptor) -> Role:
    """Returns the role that a method demands."""
    return role_of(method.GetOptions().Extensions[access_pb2.role])


def message_class(descriptor: Descriptor) -> type[Message]:
    """Returns the class of a message."""
    return GetMessageClass(descriptor)


def _routes(method: MethodDescriptor) -> list[Route]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return []
    rule = options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    template = getattr(rule, verb) if verb not in (None, "custom") else ""
    if not _TEMPLATE.fullmatch(template) or rule.body not in ("", "*") or rule.additional_bindings or rule.response_body:
        raise ValueError(f"the http rule of {method.full_name} is of a form that is not served")
    if method.client_streaming:
        raise ValueError(f"{method.full_name} streams requests, which HTTP cannot carry")
    for name in _FIELD.findall(template):
        field = method.input_type.fields_by_name.get(name)
        if field is None or field.is_repeated or field.message_type is not None:
            raise ValueError(f"the http rule of {method.full_name} names {name}, which is no plain field of its request")
    parts = _FIELD.split(template)  # literals at even places, fields at odd ones
    pattern = "".join(f"(?P<{part}>[^/:]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return [Route(verb.upper(), template, method, rule.body == "*", re.compile(pattern))]
