"""What runs in memory want to be reminded of, and when. What is further away than a run stays in memory for stands in the store alone.

A reminder less than `NEAR` away is measured by the clock that never jumps, so that a time of day that is set back holds no retry up. One
further away means the time of day. Whatever the time of day says is due rings in any case, within `TICK` of a jump.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parade_chassis.clock import Clock
from parade_scheduler.decider import Occurrence, SetTimer

NEAR: Final = 60.0
"""Seconds within which a reminder is measured by the monotonic clock."""
TICK: Final = 1.0
"""Seconds between two looks at the time of day, which may jump."""
_LEAST_GARBAGE: Final = 1_000
"""How many dropped reminders are worth clearing away."""

Report = Callable[[str, Occurrence], None]
"""Takes a run's id and what happened to it."""


@dataclass(slots=True, eq=False)
class _Reminder:
    run: str
    timer: SetTimer
    live: bool = True


class Timers:
    """The reminders of the runs in memory: two heaps and one timer of the event loop, however many there are."""

    def __init__(self, clock: Clock, report: Report) -> None:
        """Takes the time, and who is told when a time has come."""
        self._clock = clock
        self._report = report
        self._order = itertools.count()
        self._near: list[tuple[float, int, _Reminder]] = []
        """By monotonic time."""
        self._far: list[tuple[datetime, int, _Reminder]] = []
        """By time of day."""
        self._of_run: dict[str, list[_Reminder]] = {}
        self._dropped = 0
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._offset = clock.now().timestamp() - clock.monotonic()
        self._ended = False

    def set(self, run: str, timer: SetTimer, now: datetime) -> None:
        """Sets a reminder.

        Args:
            run: The run that is reminded.
            timer: When, and of what.
            now: What the run takes for the time. It is ahead of the time of day where that was set back, and the reminder is meant by it.
        """
        if self._ended:
            return
        reminder = _Reminder(run, timer)
        self._of_run.setdefault(run, []).append(reminder)
        delay = max(0.0, (timer.time - now).total_seconds())
        if delay <= NEAR:
            heapq.heappush(self._near, (self._clock.monotonic() + delay, next(self._order), reminder))
        else:
            heapq.heappush(self._far, (timer.time, next(self._order), reminder))
            delay = TICK
        self._ring_within(min(delay, TICK))

    def forget(self, run: str) -> None:
        """Drops every reminder of a run."""
        reminders = self._of_run.pop(run, None)
        if reminders is None:
            return
        for reminder in reminders:
            reminder.live = False
        self._dropped += len(reminders)
        if self._dropped > _LEAST_GARBAGE and self._dropped * 2 > len(self._near) + len(self._far):
            self._clear_away()

    def end(self) -> None:
        """Drops every reminder, and those still to come."""
        self._ended = True
        self._of_run.clear()
        self._near.clear()
        self._far.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def ring(self) -> None:
        """Rings what is due, and sees to it that this is called again in time."""
        self._handle = None
        monotonic, now = self._clock.monotonic(), self._clock.now()
        self._notice_jump(monotonic, now)
        while self._near and self._near[0][0] <= monotonic:
            self._tell(heapq.heappop(self._near)[2])
        while self._far and self._far[0][0] <= now:
            self._tell(heapq.heappop(self._far)[2])
        if self._near or self._far:
            self._ring_within(min(TICK, self._near[0][0] - monotonic) if self._near else TICK)

    def _notice_jump(self, monotonic: float, now: datetime) -> None:
        """Rings reminders of the near ones that a time of day which was set forward has overtaken."""
        offset = now.timestamp() - monotonic
        forward = offset - self._offset > TICK
        self._offset = offset
        if forward:
            overtaken = [reminder for _, _, reminder in self._near if reminder.live and reminder.timer.time <= now]
            for reminder in overtaken:
                self._tell(reminder)
            self._dropped += len(overtaken)

    def _tell(self, reminder: _Reminder) -> None:
        if not reminder.live:
            self._dropped -= 1
            return
        reminder.live = False
        others = self._of_run[reminder.run]
        others.remove(reminder)
        if not others:
            del self._of_run[reminder.run]
        self._report(reminder.run, reminder.timer.occurrence)

    def _ring_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        if self._handle is not None:
            if self._rings_at <= when:
                return
            self._handle.cancel()
        self._rings_at = when
        self._handle = loop.call_at(when, self.ring)

    def _clear_away(self) -> None:
        self._near = [entry for entry in self._near if entry[2].live]
        self._far = [entry for entry in self._far if entry[2].live]
        heapq.heapify(self._near)
        heapq.heapify(self._far)
        self._dropped = 0
