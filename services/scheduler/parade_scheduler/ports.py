"""What the scheduler needs from the rest of the mesh, said in its own words."""

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Protocol

from parade_scheduler.decider import Dispatch
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run


@dataclass(frozen=True, slots=True)
class Assigned:
    """The call is now with this instance."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """What the function gave; the last thing to come."""

    output: Document


Answer = Assigned | Progress | Result


class Caller(Protocol):
    """Calls functions."""

    def call(self, run: Run, dispatch: Dispatch) -> AsyncGenerator[Answer, None]:
        """Calls a function for a task and yields what comes of it.

        Raises:
            ParadeError: It gave no result. UNAVAILABLE carries `not_sent` in its metadata where nobody was reached.
        """
        ...

    async def leave(self) -> None:
        """Goes away without cancelling the calls under way, which fail here and are asked after by the next process. It calls no more."""
        ...


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
