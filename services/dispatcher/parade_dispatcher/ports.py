"""What the engine needs of others: who can be called, and a way to reach them."""

from collections.abc import AsyncGenerator, Collection
from typing import Protocol

from parade_dispatcher.model import Agent, Call, Instance, Said


class Known(Protocol):
    """Who can be called."""

    async def synced(self, limit: float) -> bool:
        """Returns whether it is known at all who exists, after waiting for that up to `limit` seconds."""
        ...

    def agent(self, namespace: str, name: str) -> Agent | None:
        """Returns the agent of that name; None where there is none."""
        ...

    def instances(self, namespace: str, agent: str) -> Collection[Instance]:
        """Returns an agent's instances, in whatever state."""
        ...

    def functions(self, namespace: str) -> list[str]:
        """Returns the full names of the functions of a namespace."""
        ...


class Reach(Protocol):
    """A way to reach instances.

    Both methods raise `LostError` where the instance went away, `TimeoutError` where the time passed, and `ParadeError` for what the
    instance answered. Who stops waiting cancels the call at the instance.
    """

    async def invoke(self, instance: Instance, call: Call, timeout: float) -> bytes:
        """Runs a function at an instance and returns its result."""
        ...

    def stream(self, instance: Instance, call: Call, timeout: float) -> AsyncGenerator[Said, None]:
        """Runs a function at an instance and yields what it says; the next is asked for only when the last was taken."""
        ...
