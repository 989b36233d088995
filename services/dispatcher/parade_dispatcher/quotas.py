"""What a namespace may have of a dispatcher, and how much of it is under way."""

from pydantic import Field

from parade.wire.errors import ParadeError
from parade_chassis.quotas import Limits, Quotas


class CallLimits(Limits):
    """The limits of a namespace."""

    calls: int = Field(default=20_000, ge=1)
    """Calls under way at one dispatcher, those among them that wait for an instance."""
    sessions: int = Field(default=1_000, ge=1)
    """Sessions of its clients and agents that are open at one dispatcher."""


class Room:
    """The calls of one namespace that are under way. Every call looks at it, so that it is two numbers and no more."""

    __slots__ = ("_namespace", "_quotas", "limit", "taken")

    def __init__(self, namespace: str, quotas: Quotas[CallLimits]) -> None:
        """Takes whose it is, and what that may have."""
        self.taken = 0
        """How many are under way; `Job` counts them."""
        self.limit = quotas.of(namespace).calls
        self._namespace = namespace
        self._quotas = quotas

    def full(self) -> ParadeError:
        """Makes the error for a call that is one too many."""
        return self._quotas.exhausted(self._namespace, "calls", "calls under way", "wait until some have ended", passing=True)
