"""Which of the free instances gets a call. Which ones are free, and may have it, has been settled before.

Source of the method: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, IEEE TPDS 12(10), 2001.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from parade_dispatcher.model import Instance, Request


class Candidate(Protocol):
    """An instance that has room for a call."""

    @property
    def instance(self) -> Instance:
        """What is known of it."""
        ...

    @property
    def outstanding(self) -> int:
        """How many calls it has from here."""
        ...

    @property
    def weight(self) -> float:
        """The share of the calls that it is to have beside others: 1, and less while it is new."""
        ...


class Balancer(Protocol):
    """A way to choose. An installed package adds one by an entry point of the group `parade.balancers`: a callable that returns it."""

    def choose(self, candidates: Sequence[Candidate], request: Request) -> Candidate:
        """Returns one of the candidates.

        Args:
            candidates: At least one; to be read only, and only within this call.
            request: What is called, and for whom.
        """
        ...


class LeastOutstanding:
    """Of two candidates drawn by chance the one with fewer calls for its weight."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """Takes the chance: a number from 0 up to, not including, 1."""
        self._chance = chance

    def choose(self, candidates: Sequence[Candidate], request: Request) -> Candidate:  # noqa: ARG002 - all requests are alike to it
        """Returns one of the candidates, at the same price however many there are."""
        count = len(candidates)
        if count == 1:
            return candidates[0]
        chance = self._chance
        first = int(chance() * count)
        second = int(chance() * (count - 1))
        one, other = candidates[first], candidates[second if second < first else second + 1]
        if (one.outstanding + 1) * other.weight <= (other.outstanding + 1) * one.weight:
            return one
        return other
