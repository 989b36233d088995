"""Starts the runs of schedules whose time has come. The time is the time of day of this replica.

Each replica sees to the schedules of its own shards. A run is named by its schedule and its time, so that none is started twice: not after
a crash before it was noted, not by a replica that does not know yet that it lost the shard, and not when the time of day is set back.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.leading.happenings import Whole
from parade_scheduler.leading.postponed import Postponed
from parade_scheduler.refusal import PASSING
from parade_scheduler.starts.start import Caller, Start
from parade_scheduler.storage.schedules_store import Due, ScheduleStore
from parade_scheduler.triggers.due_times import next_time, times_to_start

INTERVAL: Final = 1.0
"""Seconds between two looks at whose time has come."""
PAGE: Final = 200
"""How many schedules are seen to at once."""
LABEL: Final = "schedule"
"""The label that says which schedule has started a run."""


class Starts(Protocol):
    """Starts runs."""

    async def start(self, caller: Caller, start: Start) -> Whole:
        """See `Starter.start`."""
        ...


class ScheduleRunner:
    """Sees to the schedules of this replica."""

    def __init__(self, store: ScheduleStore, starts: Starts, clock: Clock, log: Log) -> None:
        """Takes where schedules are kept, what starts runs, the time and the log."""
        self._store = store
        self._starts = starts
        self._clock = clock
        self._log = log
        self._postponed: Postponed[tuple[str, str]] = Postponed(clock)
        """The schedules whose runs there was no room for."""

    async def lead(self, shards: Callable[[], Collection[int]]) -> None:
        """Starts runs for as long as the process lives.

        Args:
            shards: Gives the shards of this replica.
        """
        while True:
            try:
                await self.look(shards())
            except ParadeError as error:
                self._log.warning("schedules cannot be read", error=str(error))
            await self._clock.sleep(INTERVAL)

    async def look(self, shards: Collection[int]) -> None:
        """Starts the runs of every schedule of some shards whose time has come.

        Raises:
            ParadeError: UNAVAILABLE, where the store cannot be read.
        """
        now, after = self._clock.now(), None
        while shards:
            page = await self._store.due(shards, now, after, PAGE)
            await asyncio.gather(*(self._see_to(due) for due in page if not self._postponed.waits(_name(due))))
            if len(page) < PAGE:
                return
            after = page[-1].key

    async def _see_to(self, due: Due) -> None:
        """Starts the runs of one schedule, and notes it. What comes in between is made good by the next look."""
        schedule, now = due.schedule, self._clock.now()
        try:
            last_time, run = None, ""
            for time in times_to_start(schedule, now):
                started = await self._start(due, time.isoformat())
                if started is not None:
                    last_time, run = time, started
                reached("after_scheduled_start")
            await self._store.started(due, next_time(schedule, now), last_time, run)
            self._postponed.done(_name(due))
        except Exception as error:  # noqa: BLE001  # a fault of ours in one schedule must not end all others
            self._postponed.put_off(_name(due))
            fields = {"schedule": schedule.name, "namespace": schedule.namespace}
            if isinstance(error, ParadeError) and error.reason in PASSING:
                self._log.warning("scheduled run waits", error=str(error), **fields)
            else:
                self._log.error("scheduled run could not be started", exception=error, **fields)

    async def _start(self, due: Due, time: str) -> str | None:
        """Starts a run; returns its id, or None where the workflow does not take it."""
        schedule = due.schedule
        start = Start(schedule.workflow, 0, schedule.inputs, f"schedule/{schedule.name}/{time}", {LABEL: schedule.name})
        try:
            run, _ = await self._starts.start(Caller(schedule.namespace, schedule.principal, is_absent=True), start)
        except ParadeError as error:
            if error.reason in PASSING:
                raise
            self._log.error("scheduled run refused", schedule=schedule.name, namespace=schedule.namespace, time=time, error=str(error))
            return None
        return run.id


def _name(due: Due) -> tuple[str, str]:
    return due.schedule.namespace, due.schedule.name
