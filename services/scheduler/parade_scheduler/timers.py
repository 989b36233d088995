"""What a run wants to be reminded of, and when."""

import asyncio
from collections.abc import Callable

from parade_chassis.clock import Clock
from parade_scheduler.decider import Occurrence, SetTimer

Report = Callable[[str, Occurrence], None]
"""Takes a run's id and what happened to it."""


class Timers:
    """The reminders of all runs. They live in memory alone: what they are for stands in the runs' rows."""

    def __init__(self, clock: Clock, report: Report) -> None:
        """Takes the time, and who is told when a time has come."""
        self._clock = clock
        self._report = report
        self._handles: dict[str, dict[SetTimer, asyncio.TimerHandle]] = {}
        self._ended = False

    def set(self, run: str, timer: SetTimer) -> None:
        """Sets a reminder."""
        if self._ended:
            return
        delay = max(0.0, (timer.time - self._clock.now()).total_seconds())
        handle = asyncio.get_running_loop().call_later(delay, self._ring, run, timer)
        self._handles.setdefault(run, {})[timer] = handle

    def forget(self, run: str) -> None:
        """Drops every reminder of a run."""
        for handle in self._handles.pop(run, {}).values():
            handle.cancel()

    def end(self) -> None:
        """Drops every reminder, and those still to come."""
        self._ended = True
        for run in list(self._handles):
            self.forget(run)

    def _ring(self, run: str, timer: SetTimer) -> None:
        self._handles.get(run, {}).pop(timer, None)
        self._report(run, timer.occurrence)
