"""How many who were never seen before are looked into: who tries keys and tokens out costs little, and holds nobody else up."""

from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import Clock

STRANGERS: Final = 100.0
"""How many are looked into in a second."""
BURST: Final = 1000.0
"""How many are, where there were few before."""


class Strangers:
    """The room that there is for them."""

    def __init__(self, clock: Clock) -> None:
        """Takes the time; at first there is room for many."""
        self._clock = clock
        self._room = BURST
        self._measured = clock.monotonic()

    def admit(self) -> None:
        """Takes the room of one.

        Raises:
            ParadeError: NO_CAPACITY where there is none.
        """
        now = self._clock.monotonic()
        self._room = min(BURST, self._room + (now - self._measured) * STRANGERS)
        self._measured = now
        if self._room < 1:
            raise ParadeError(Reason.NO_CAPACITY, "too many unknown keys or tokens are shown; try again", metadata={"retry_after": "1s"})
        self._room -= 1
