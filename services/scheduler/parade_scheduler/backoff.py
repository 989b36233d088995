"""How long to wait before trying again: longer each time, up to a bound, and never quite the same."""

from collections.abc import Callable
from dataclasses import dataclass

Jitter = Callable[[], float]
"""Gives numbers from 0 up to 1 by chance."""

_MAX_EXPONENT = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits, each lengthened by chance, so that many waiters do not all come back at once."""

    delay: float
    """The first wait, in seconds."""
    factor: float = 2.0
    """What each wait is multiplied by to give the next."""
    max_delay: float = 60.0
    """The longest wait, in seconds."""
    jitter: float = 0.25
    """By what part of itself each wait may be longer by chance, from 0 to 1."""

    def seconds(self, failures: int, jitter: Jitter) -> float:
        """Returns the wait after that many failures in a row, counted from 1."""
        wait = min(self.max_delay, self.delay * self.factor ** min(failures - 1, _MAX_EXPONENT))
        return wait * (1 + self.jitter * jitter())


OUTAGE = Backoff(delay=0.2, factor=2.0, max_delay=5.0)
"""The waits while the mesh cannot get a call to an answer."""
LONG_OUTAGE = Backoff(delay=60.0)
"""The waits once that has lasted for long."""
