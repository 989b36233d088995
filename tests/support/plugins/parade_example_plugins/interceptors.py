"""What is done with every call."""

from collections import Counter
from typing import Any

from parade.wire.errors import ParadeError, Reason

BUDGET = 3
"""Calls that one principal may make."""


class Quota:
    """Lets everyone make so many calls, lets people go before programs, and counts how calls end."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def before(self, request: Any) -> None:
        """Refuses a call over the quota; gives the others their priority."""
        if self.made[request.principal] >= BUDGET:
            raise ParadeError(Reason.PERMISSION_DENIED, f"{request.principal} has made its {BUDGET} calls")
        self.made[request.principal] += 1
        if "/client/" in request.principal:
            request.priority = 10

    def after(self, request: Any, outcome: Any) -> None:
        """Counts how it ended."""
        self.ended[outcome.reason.value if isinstance(outcome, ParadeError) else "OK"] += 1
