"""What the scheduler needs from the rest of the mesh, said in its own words."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from parade_scheduler.decider import Dispatch
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run


class Listener(Protocol):
    """Who made a call. `succeeded` or `failed` is the last that it hears; it hears nothing from within `Caller.call` and `Call.cancel`."""

    def assigned(self, instance_id: str) -> None:
        """Takes that the call is now with this instance."""
        ...

    def progressed(self, progress: Progress) -> None:
        """Takes how far the function is."""
        ...

    def succeeded(self, output: Document) -> None:
        """Takes what the function gave."""
        ...

    def failed(self, error: Exception) -> None:
        """Takes why it gave nothing: a `ParadeError`, or what nobody foresaw. UNAVAILABLE carries `not_sent` where nobody was reached."""
        ...


class Call(Protocol):
    """A call under way."""

    def cancel(self) -> None:
        """Cancels it at whoever has it; its listener hears no more."""
        ...


class Caller(Protocol):
    """Calls functions."""

    def call(self, run: Run, dispatch: Dispatch, listener: Listener) -> Call:
        """Calls a function for a task. Returns at once.

        Raises:
            ParadeError: It cannot be sent. UNAVAILABLE carries `not_sent` in its metadata, as where it fails later.
        """
        ...

    async def leave(self) -> None:
        """Goes away without cancelling the calls under way, which fail here and are asked after by the next process. It calls no more."""
        ...


@dataclass(frozen=True, slots=True)
class DurableFunction:
    """A workflow in code, as its agent has registered it."""

    description: str
    arguments_schema: bytes
    """The JSON Schema of a turn's arguments, as it was sent."""


class Functions(Protocol):
    """Knows which functions there are."""

    async def registered(self, namespace: str, principal: str, agents: Collection[str]) -> frozenset[str]:
        """Returns the full names of these agents' functions.

        Raises:
            ParadeError: UNAVAILABLE, where nobody can be asked.
        """
        ...

    async def first(self, namespace: str, principal: str) -> frozenset[str]:
        """Returns the full names of the first 1,000 functions that there are, to say what may have been meant.

        Raises:
            ParadeError: UNAVAILABLE, where nobody can be asked.
        """
        ...

    async def durable(self, namespace: str, full_name: str) -> DurableFunction | None:
        """Returns a durable function; None where no agent has registered one of that name.

        Raises:
            ParadeError: UNAVAILABLE, where nobody can be asked.
        """
        ...
