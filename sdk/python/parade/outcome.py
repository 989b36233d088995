"""What came of a call, with what is known of how it went."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a call went, in seconds."""

    queued: float
    """From its arrival at the dispatcher until an instance had it, and at the instance until the function began."""
    transport: float
    """On its way between all who took part, there and back: what is left of the whole."""
    executing: float
    """In the function."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.queued + self.transport + self.executing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call."""

    value: Any
    """The result."""
    call_id: str
    """The call's id, as it stands in logs and traces."""
    instance_id: str
    """The instance that answered."""
    timing: Timing
    """Where the time went."""
