"""How long to wait before the next try: longer each time, up to a bound, and never the same for two processes."""

import random

FIRST = 0.2
LONGEST = 5.0


class Backoff:
    """The pauses between tries."""

    def __init__(self, longest: float = LONGEST) -> None:
        """Starts with the shortest pause; `longest` bounds them, in seconds."""
        self._longest = longest
        self._next = FIRST

    def reset(self) -> None:
        """Starts over, after a success."""
        self._next = FIRST

    def pause(self) -> float:
        """Returns the seconds to wait now: between half of the step and the whole."""
        step, self._next = self._next, min(self._longest, self._next * 2)
        return step * random.uniform(0.5, 1.0)  # noqa: S311  # spreads tries, guards nothing
