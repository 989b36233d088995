"""What starts runs of a workflow by itself, as its newest version says: schedules and events. It is stored with that version."""

from dataclasses import replace
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import Violation
from parade_chassis.clock import Clock
from parade_scheduler.document import Document
from parade_scheduler.language import Definition
from parade_scheduler.model import Workflow
from parade_scheduler.refusal import refused
from parade_scheduler.schedule import CatchUp, Schedule
from parade_scheduler.storage.events_store import EventStore
from parade_scheduler.storage.schedules_store import Change, ScheduleStore, defined_name
from parade_scheduler.storage.workflows import Also
from parade_scheduler.triggers.schedules import input_fault, succeeding


class DefinedStarts:
    """Keeps schedules and triggers as the newest versions of the workflows say."""

    def __init__(self, schedules: ScheduleStore, events: EventStore, clock: Clock, *, max_schedules: int) -> None:
        """Takes where schedules and triggers are kept, and the time; `max_schedules` bounds the schedules of a namespace."""
        self._schedules = schedules
        self._events = events
        self._clock = clock
        self._max_schedules = max_schedules

    def of(self, definition: Definition, namespace: str, principal: str) -> Also:
        """Returns what writes them for a new version.

        Args:
            definition: The new version.
            namespace: Where it is put.
            principal: Who puts it, and as whom the runs are to act.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the inputs of a schedule cannot be computed, or are too large.
        """
        changes: list[Change] = [partial(self._changed, wanted=schedule) for schedule in self._wanted(definition, namespace, principal)]
        types = {trigger.event.type for trigger in definition.triggers}
        return partial(self._write, changes=changes, types=types, principal=principal)

    async def _write(
        self, connection: AsyncConnection, workflow: Workflow, *, changes: list[Change], types: set[str], principal: str
    ) -> None:
        await self._schedules.define(connection, workflow.namespace, workflow.name, changes, self._max_schedules)
        await self._events.define(connection, workflow, types, principal)

    def _wanted(self, definition: Definition, namespace: str, principal: str) -> list[Schedule]:
        wanted = [
            Schedule(
                defined_name(definition.name, number),
                definition.name,
                schedule.cron,
                schedule.time_zone,
                CatchUp[schedule.catch_up.upper()],
                Document.of(definition.inputs.complete(schedule.inputs.fill({}, "on.schedule.inputs"))),
                defined=True,
                namespace=namespace,
                principal=principal,
            )
            for number, schedule in enumerate(definition.schedules, 1)
        ]
        faults = [Violation(f"on.schedule[{place}].inputs", fault) for place, one in enumerate(wanted) if (fault := input_fault(one))]
        if faults:
            raise refused(faults, "the inputs of a schedule are too large, with the defaults of the workflow's")
        return wanted

    def _changed(self, before: Schedule | None, *, wanted: Schedule) -> Schedule:
        paused = before is not None and before.paused
        return succeeding(before, replace(wanted, paused=paused), self._clock)
