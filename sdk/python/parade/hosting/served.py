"""A function as an instance serves it, with what every call of it asks for in one place."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from parade.function import Function

if TYPE_CHECKING:
    from parade.hosting.work import Work


class Served:
    """A function as an instance serves it."""

    __slots__ = ("context", "decode", "effect", "encode", "function", "handler", "kind", "limit", "name", "plain", "streaming")

    def __init__(self, agent: str, function: Function, kind: "Callable[..., Work]", *, coroutine: bool) -> None:
        """Takes a function, the kind of work that a call of it is, and whether that is a coroutine with one result."""
        self.function = function
        self.kind = kind
        self.name = f"{agent}.{function.name}"
        self.limit = function.timeout
        self.effect = function.effect == "effect"
        self.context = function.signature.context
        self.streaming = function.streaming
        self.plain = coroutine and not self.effect and not self.context
        """Whether it needs nothing of a call but its arguments."""
        self.handler = function.handler
        self.decode = function.decode
        self.encode = function.encode
