"""Schedules and published events, as a client sees them: a part of `parade.Mesh`."""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from parade import values
from parade.pages import PAGE_SIZE, pages
from parade.patience import patiently
from parade.v1 import schedule_pb2, scheduler_pb2

if TYPE_CHECKING:
    from parade.v1.scheduler_pb2_grpc import SchedulerServiceAsyncStub

CatchUp = Literal["none", "last", "all"]
"""What becomes of times that passed while no scheduler ran: none of them is started, the last, or all (at most 100)."""


class Schedules:
    """What starts runs by itself: times and events. Answers come as the messages of `parade.v1`, whose comments say what they hold."""

    _scheduler: "SchedulerServiceAsyncStub"

    async def put_schedule(
        self,
        name: str,
        workflow: str,
        cron: str,
        *,
        time_zone: str = "UTC",
        catch_up: CatchUp = "last",
        inputs: Mapping[str, Any] | None = None,
        paused: bool = False,
    ) -> schedule_pb2.Schedule:
        """Has runs of a workflow started by time, or changes when they are.

        Args:
            name: Names the schedule; one of this name is replaced.
            workflow: The workflow, in its newest version when the time comes.
            cron: When: five fields as cron has them, `0 6 * * 1-5`.
            time_zone: The time zone in which they are meant, an IANA name.
            catch_up: What becomes of times that were missed.
            inputs: The inputs of the runs, by name.
            paused: Whether it rests for now.

        Raises:
            ParadeError: NOT_FOUND (the workflow); INVALID_ARGUMENTS (any of the rest); NO_CAPACITY (the namespace has too many schedules).
        """
        schedule = schedule_pb2.Schedule(
            name=name,
            workflow=workflow,
            cron=cron,
            time_zone=time_zone,
            catch_up=schedule_pb2.CatchUp.Value(f"CATCH_UP_{catch_up.upper()}"),
            inputs=values.encode(dict(inputs or {}), "inputs"),
            paused=paused,
        )
        return await self._put(schedule)

    async def schedule(self, name: str) -> schedule_pb2.Schedule:
        """Returns a schedule.

        Raises:
            ParadeError: NOT_FOUND.
        """
        request = scheduler_pb2.GetScheduleRequest(name=name)
        return (await patiently(lambda: self._scheduler.GetSchedule(request))).schedule

    async def schedules(self, workflow: str = "") -> list[schedule_pb2.Schedule]:
        """Returns every schedule by name, or those of one workflow."""
        request = scheduler_pb2.ListSchedulesRequest(workflow=workflow, page_size=PAGE_SIZE)
        return [schedule async for page in pages(self._scheduler.ListSchedules, request) for schedule in page.schedules]

    async def pause_schedule(self, name: str) -> schedule_pb2.Schedule:
        """Lets a schedule rest: it starts nothing until it is resumed.

        Raises:
            ParadeError: NOT_FOUND.
        """
        return await self._set_paused(name, paused=True)

    async def resume_schedule(self, name: str) -> schedule_pb2.Schedule:
        """Lets a schedule that rests go on with the next of its times; those that have passed are not caught up with.

        Raises:
            ParadeError: NOT_FOUND.
        """
        return await self._set_paused(name, paused=False)

    async def delete_schedule(self, name: str) -> None:
        """Deletes a schedule. Runs that it has started go on.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it is part of a workflow's definition.
        """
        request = scheduler_pb2.DeleteScheduleRequest(name=name)
        await patiently(lambda: self._scheduler.DeleteSchedule(request))

    async def publish_event(self, type: str, value: Any = None, *, event_id: str = "") -> str:
        """Publishes an event: steps that wait for one like it go on, and workflows that begin on one like it are started.

        Args:
            type: What kind of event it is, for example `order.paid`.
            value: What it says, anything that JSON can hold.
            event_id: Names the event: publishing it again with the same name changes nothing. Made up where not given.

        Returns:
            Its id. The event is stored by then; what follows from it comes about afterwards.

        Raises:
            ParadeError: INVALID_ARGUMENTS (the type or the value); NO_CAPACITY (the namespace has published too many in a day).
        """
        named = event_id or f"event-{uuid.uuid4().hex}"
        request = scheduler_pb2.PublishEventRequest(type=type, value=values.encode(value, "value"), event_id=named)
        return (await patiently(lambda: self._scheduler.PublishEvent(request))).event_id

    async def _set_paused(self, name: str, *, paused: bool) -> schedule_pb2.Schedule:
        found = await self.schedule(name)
        found.paused = paused
        return await self._put(found)

    async def _put(self, schedule: schedule_pb2.Schedule) -> schedule_pb2.Schedule:
        request = scheduler_pb2.PutScheduleRequest(schedule=schedule)
        return (await patiently(lambda: self._scheduler.PutSchedule(request))).schedule
