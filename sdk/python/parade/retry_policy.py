"""When the mesh makes a call of a function again by itself."""

import math
from dataclasses import dataclass
from typing import Any

MAX_ATTEMPTS = 10
LONGEST_BACKOFF = 3600.0
LARGEST_MULTIPLIER = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that failed is made again by the dispatcher.

    It holds for functions that may be repeated, and for an effect that is known not to have run. Half of every pause is left to chance.

    Raises:
        ValueError: A value is outside its bounds, when it is made.
    """

    max_attempts: int = 3
    """How often an instance may be given the call, the first time included; from 1 to 10. Where a function has a policy, an AGENT_ERROR
    that is marked retryable is answered by another attempt too."""
    initial_backoff: float = 0.1
    """Seconds before the second attempt."""
    max_backoff: float = 5.0
    """Seconds that a pause lasts at most."""
    multiplier: float = 2.0
    """How much longer each pause is than the last; from 1 to 10."""

    def __post_init__(self) -> None:
        """Looks at every field."""
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ValueError(f"max_attempts is {self.max_attempts!r}; it must be a whole number from 1 to {MAX_ATTEMPTS}")
        _check("initial_backoff", self.initial_backoff, 0.001, LONGEST_BACKOFF)
        _check("max_backoff", self.max_backoff, self.initial_backoff, LONGEST_BACKOFF)
        _check("multiplier", self.multiplier, 1.0, LARGEST_MULTIPLIER)


def _check(name: str, value: Any, least: float, most: float) -> None:
    if not (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{name} is {value!r}; it must be a number from {least:g} to {most:g}")
