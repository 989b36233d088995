"""Which handler answers which HTTP request: those written for their purpose, and the transcoder for every other RPC."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote

from google.protobuf.descriptor import MethodDescriptor

from parade.wire.errors import Reason
from parade.wire.roles import Role
from parade_gateway.answer import Answer
from parade_gateway.errors import HttpError
from parade_gateway.request import Request
from parade_gateway.routes import Routes, needed_role

REMEMBERED = 1024
"""How many paths are remembered with their endpoints."""
LONGEST_REMEMBERED = 256
"""Characters of the longest path that is."""

Handler = Callable[[Request, Answer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request ends."""

    verb: str
    template: str
    """The path without its values; empty where there is nothing."""
    handler: Handler
    fields: Mapping[str, str]
    """What stands in the path, decoded."""
    role: Role
    """What who asks must be allowed."""
    purpose: str
    """What for, as `to call GetRun`."""
    name: str = field(init=False)
    """Verb and template."""
    attributes: Mapping[str, str] = field(init=False)
    """What its spans say of it."""

    def __post_init__(self) -> None:
        """Makes what follows from the rest."""
        object.__setattr__(self, "name", f"{self.verb} {self.template}".rstrip())
        object.__setattr__(self, "attributes", {"http.request.method": self.verb, "http.route": self.template})

    @classmethod
    def nothing(cls, verb: str) -> "Endpoint":
        """Returns where a request to nowhere ends."""
        return cls(verb, "", _nothing, {}, Role.NONE, "")


@dataclass(frozen=True, slots=True)
class OwnRoute:
    """A way in whose bytes no contract describes."""

    verb: str
    template: str
    pattern: re.Pattern[str]
    """What the undecoded path must look like; its groups are the fields."""
    handler: Handler
    method: MethodDescriptor
    """The RPC that it stands for."""


class Endpoints:
    """Every endpoint."""

    def __init__(self, routes: Routes, handlers: Mapping[str, Handler], own: Sequence[OwnRoute]) -> None:
        """Takes what there is.

        Args:
            routes: The RPCs.
            handlers: Who answers each of them, by its full name.
            own: What there is beside them.
        """
        self._routes = routes
        self._handlers = handlers
        self._own = own
        self._remembered = lru_cache(REMEMBERED)(self._search)

    def find(self, verb: str, path: str) -> Endpoint:
        """Returns the endpoint of a request.

        Args:
            verb: The HTTP method.
            path: The path, percent-encoded as it came.

        Raises:
            HttpError: 404 where the path is none of ours, 405 where it is and the method is wrong.
        """
        return self._remembered(verb, path) if len(path) <= LONGEST_REMEMBERED else self._search(verb, path)

    def _search(self, verb: str, path: str) -> Endpoint:
        found = [(own, match) for own in self._own if (match := own.pattern.fullmatch(path)) is not None]
        if not found:
            route, fields = self._routes.find(verb, path)
            return _endpoint(verb, route.template, self._handlers[route.rpc], fields, route.method)
        for own, match in found:
            if own.verb == verb:
                fields = {name: unquote(text) for name, text in match.groupdict().items()}
                return _endpoint(verb, own.template, own.handler, fields, own.method)
        listed = ", ".join(sorted(own.verb for own, _ in found))
        raise HttpError(405, Reason.INVALID_ARGUMENTS, f"{unquote(path)} takes {listed}, not {verb}", {"allow": listed})


def _endpoint(verb: str, template: str, handler: Handler, fields: Mapping[str, str], method: MethodDescriptor) -> Endpoint:
    return Endpoint(verb, template, handler, fields, needed_role(method), f"to call {method.name}")


async def _nothing(_request: Request, _answer: Answer) -> None:
    raise HttpError(404, Reason.NOT_FOUND, "there is nothing here")
