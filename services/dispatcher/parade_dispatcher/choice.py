"""Which instance gets a call: what each has outstanding, which have just failed, and chance. It knows nothing of calls or connections.

Source of the method: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, IEEE TPDS 12(10), 2001.
"""

from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass
from random import Random

from parade_chassis.clock import Clock
from parade_dispatcher.model import CALLABLE, Instance

FIRST_PAUSE = 0.5
"""Seconds for which an instance that has failed once gets no calls."""
LONGEST_PAUSE = 30.0
FORGOTTEN_AFTER = 600.0
"""Seconds after the end of its pause until a failure no longer counts; then the instance has gone, or nobody asks for it."""


class Slot:
    """A place at an instance, taken for one call."""

    def __init__(self, instance: Instance, returned: Callable[[str], None]) -> None:
        """Takes the instance and whom to tell that the place is free."""
        self.instance = instance
        self._returned: Callable[[str], None] | None = returned

    def give_back(self) -> None:
        """Frees the place; doing it twice is doing it once."""
        if self._returned is not None:
            self._returned(self.instance.id)
            self._returned = None


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class Choice:
    """The instance with the fewest outstanding calls of two drawn by chance, those in good health before the others."""

    def __init__(self, clock: Clock, chance: Random) -> None:
        """Takes the time and the chance."""
        self._clock = clock
        self._chance = chance
        self._outstanding: dict[str, int] = {}
        self._failures: dict[str, _Failures] = {}

    def take(self, instances: Collection[Instance], tried: Container[str] = ()) -> Slot | None:
        """Takes a place for one call; None where no instance has one.

        Args:
            instances: Those that serve the function.
            tried: The ids of those that have had the call already.
        """
        for state in CALLABLE:
            free = [instance for instance in instances if instance.state is state and instance.id not in tried and self._free(instance)]
            if free:
                chosen = self._lesser(free)
                self._outstanding[chosen.id] = self.outstanding(chosen.id) + 1
                return Slot(chosen, self._returned)
        return None

    def outstanding(self, instance_id: str) -> int:
        """Returns how many calls an instance has now."""
        return self._outstanding.get(instance_id, 0)

    def set_aside(self, instance_id: str) -> None:
        """Gives an instance that has failed no calls for a pause, twice as long as the last. Then it gets one, on trial."""
        now = self._clock.monotonic()
        self._failures = {key: kept for key, kept in self._failures.items() if now < kept.until + FORGOTTEN_AFTER}
        failures = self._failures.setdefault(instance_id, _Failures())
        if now < failures.until:
            return  # calls that were under way fail together, for one reason
        failures.until = now + min(FIRST_PAUSE * 2**failures.count, LONGEST_PAUSE)
        failures.count = min(failures.count + 1, 16)

    def proved_healthy(self, instance_id: str) -> None:
        """Forgets that an instance has failed, since it has answered."""
        self._failures.pop(instance_id, None)

    def pause_left(self, instances: Iterable[Instance]) -> float:
        """Returns the seconds until the first of these instances is on trial again; 0 where one of them is not set aside."""
        now = self._clock.monotonic()
        waits = (self._failures[instance.id].until - now if instance.id in self._failures else 0.0 for instance in instances)
        return max(0.0, min(waits, default=0.0))

    def _free(self, instance: Instance) -> bool:
        outstanding = self.outstanding(instance.id)
        failures = self._failures.get(instance.id)
        if failures is None:
            return outstanding < instance.max_concurrency
        return outstanding == 0 and self._clock.monotonic() >= failures.until

    def _lesser(self, free: list[Instance]) -> Instance:
        if len(free) == 1:
            return free[0]
        first = self._chance.randrange(len(free))
        second = (first + 1 + self._chance.randrange(len(free) - 1)) % len(free)
        return min(free[first], free[second], key=lambda instance: self.outstanding(instance.id))

    def _returned(self, instance_id: str) -> None:
        left = self._outstanding[instance_id] - 1
        if left:
            self._outstanding[instance_id] = left
        else:
            del self._outstanding[instance_id]
