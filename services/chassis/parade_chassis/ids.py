"""Names for new things: unique, and sortable by when they were made.

Source of the format: ULID, https://github.com/ulid/spec, in lower case.
"""

import secrets
from collections.abc import Callable

from parade_chassis.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_RANDOM_BITS = 80


class Ids:
    """Makes ids. Two ids of the same millisecond are in the order of their making."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        """Takes the time and the chance that the ids are made of."""
        self._clock = clock
        self._random_bits = random_bits
        self._last = 0

    def new(self, prefix: str) -> str:
        """Returns `prefix`, a hyphen and 26 characters, for example `run-01k9…`."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        value = milliseconds << _RANDOM_BITS | self._random_bits(_RANDOM_BITS)
        if value >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
            value = self._last + 1
        self._last = value
        return f"{prefix}-{_encoded(value)}"


def _encoded(value: int) -> str:
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
