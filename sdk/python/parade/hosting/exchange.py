"""Who waits for a call that runs here: what a call's work knows of them."""

from collections.abc import Callable
from typing import Protocol

from parade.v1 import session_pb2

UNBOUNDED = 1 << 62
"""A window that is never used up."""


class Exchange(Protocol):
    """One call, seen from who runs it; `parade.wire.session.acceptor.Exchange` is one."""

    window: int
    """Bytes of items that may still be told."""
    cancelled: Callable[[bool], None] | None
    """Called where the call is to end: with True where who made it went away for good."""
    credited: Callable[[], None] | None
    """Called when the window grew."""

    def answer(self, result: session_pb2.SessionResult) -> None:
        """Gives the call's result: the last word."""
        ...

    def tell(self, event: session_pb2.SessionEvent) -> None:
        """Tells what the call says while it runs."""
        ...


class Nobody:
    """Stands in for those who went away while an effect runs on."""

    __slots__ = ("cancelled", "credited", "window")

    def __init__(self) -> None:
        """Takes everything and keeps nothing."""
        self.window = UNBOUNDED
        self.cancelled: Callable[[bool], None] | None = None
        self.credited: Callable[[], None] | None = None

    def answer(self, result: session_pb2.SessionResult) -> None:
        """Passes over the result."""

    def tell(self, event: session_pb2.SessionEvent) -> None:
        """Passes over the event."""
