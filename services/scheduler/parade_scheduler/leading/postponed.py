"""What could not be done for now: how often, and until when each waits before it is tried again."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from parade_chassis.clock import Clock
from parade_scheduler.backoff import Backoff

CAPACITY: Final = 10_000
"""How many are known; what was put off longest ago is forgotten first, and so tried again sooner."""
PAUSE: Final = Backoff(delay=1.0, factor=2.0, max_delay=60.0)
"""The waits."""

KeyT = TypeVar("KeyT")


class Postponed(Generic[KeyT]):
    """What waits before it is tried again."""

    def __init__(self, clock: Clock) -> None:
        """Takes the time."""
        self._clock = clock
        self._waits: OrderedDict[KeyT, tuple[int, float]] = OrderedDict()
        """How often each could not be done, and until when it waits, in seconds that never run backwards."""

    def put_off(self, key: KeyT) -> None:
        """Lets something wait, longer each time."""
        times = self._waits.pop(key, (0, 0.0))[0] + 1
        self._waits[key] = times, self._clock.monotonic() + PAUSE.seconds(times, lambda: 0.0)
        if len(self._waits) > CAPACITY:
            self._waits.popitem(last=False)

    def done(self, key: KeyT) -> None:
        """Forgets something, because it could be done."""
        self._waits.pop(key, None)

    def waits(self, key: KeyT) -> bool:
        """Tells whether something is not to be tried yet."""
        return self._waits.get(key, (0, 0.0))[1] > self._clock.monotonic()
