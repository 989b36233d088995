"""How a function fails on purpose: with words for its caller, and whether trying again may help."""

from collections.abc import Mapping
from typing import Any


class FunctionError(Exception):
    """Raised by a function that fails for a reason it knows.

    The caller gets AGENT_ERROR with this message and these details. Any other exception reaches the caller as its type and its text, and
    counts as retryable unless it is of a kind that Python raises for a mistake: a `ValueError`, a `TypeError`, a `KeyError` and the like.

    Attributes:
        message: What happened and what to do about it.
        retryable: Whether the same call may succeed if it is made again.
        details: Facts for programs. What is not text is sent as JSON.
    """

    def __init__(self, message: str, *, retryable: bool = False, details: Mapping[str, Any] | None = None) -> None:
        """Makes an error."""
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.details = dict(details or {})
