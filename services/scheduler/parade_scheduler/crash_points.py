"""Named places at which a test may kill the process, as a crash would: SIGKILL, no clean-up, no last word.

Which one, and at which of the times that it is reached, the environment says: `PARADE_CRASH_AT=after_commit:3`. So that a test can tell
a fault that came from one that did not, a line is added to the file that `PARADE_CRASH_LOG` names, and is on the disk before the process
dies.
Without the variable a crash point is a look at one name.
"""

import os
import signal
from pathlib import Path
from typing import Final

CRASH_POINTS: Final = frozenset(
    {
        "before_commit",
        "after_commit",
        "before_release",
        "mid_release",
        "after_dispatch",
        "on_outcome",
        "before_park",
        "after_load",
        "on_claim",
        "on_handover",
    }
)
"""Every place in what leads runs."""
TRIGGER_POINTS: Final = frozenset({"after_scheduled_start", "after_event_told", "after_event_start", "after_group_settled"})
"""Every place in what starts runs by itself and lets waiting ones go on."""


class _Fault:
    """A crash that is still to come."""

    def __init__(self, told: str) -> None:
        """Takes `name:count`.

        Raises:
            ValueError: There is no such crash point, or the count is none: a test that waits for it would be void.
        """
        self.name, _, count = told.partition(":")
        self.left = int(count or "1")
        if self.name not in CRASH_POINTS | TRIGGER_POINTS or self.left < 1:
            raise ValueError(f"PARADE_CRASH_AT={told}: no such crash point")

    def reached(self, name: str) -> None:
        """Counts, and kills the process where the count is full."""
        if name != self.name:
            return
        self.left -= 1
        if self.left == 0:
            _record(name)
            os.kill(os.getpid(), signal.SIGKILL)


def _record(name: str) -> None:
    path = os.environ.get("PARADE_CRASH_LOG", "")
    if path:
        with Path(path).open("a") as log:
            log.write(f"{name}\n")
            log.flush()
            os.fsync(log.fileno())


_told = os.environ.get("PARADE_CRASH_AT", "")
_fault: Final = _Fault(_told) if _told else None


def reached(name: str) -> None:
    """Says that the process is at a crash point."""
    if _fault is not None:
        _fault.reached(name)
