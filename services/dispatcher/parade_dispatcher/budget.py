"""How many retries an agent's calls may add: a bucket of tokens that calls fill and retries empty. It knows neither time nor calls.

Source of the method: the retry budget of Finagle, https://twitter.github.io/finagle/guide/Clients.html#retries.
"""

SHARE = 0.1
"""Tokens that a call brings: so much of a retry."""
CAPACITY = 20.0
"""Tokens that the bucket holds, and starts with."""


class Budget:
    """One agent's bucket."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        """Starts full."""
        self._tokens = CAPACITY

    def called(self) -> None:
        """Takes in that a caller has made a call."""
        if self._tokens < CAPACITY:
            self._tokens = min(CAPACITY, self._tokens + SHARE)

    def spend(self) -> bool:
        """Takes the token that a retry costs; False where there is none, and then there is no retry."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
