"""Between the contract's schedules and the scheduler's, both ways; pure."""

from parade.v1 import schedule_pb2
from parade_scheduler.convert.fields import Fields
from parade_scheduler.convert.values import to_timestamp, to_value
from parade_scheduler.schedule import CatchUp, Schedule


def schedule(message: schedule_pb2.Schedule) -> Schedule:
    """Reads a schedule that somebody puts; what it says of its times and its origin is not looked at.

    Raises:
        ParadeError: INVALID_ARGUMENTS: the inputs are no JSON, or there is no such way of catching up.
    """
    fields = Fields()
    catch_up = CatchUp.LAST
    if message.catch_up:
        known = message.catch_up in schedule_pb2.CatchUp.values()
        name = schedule_pb2.CatchUp.Name(message.catch_up).removeprefix("CATCH_UP_") if known else ""
        if name in CatchUp.__members__:
            catch_up = CatchUp[name]
        else:
            fields.fault("schedule.catch_up", f"{message.catch_up} is no way of catching up")
    result = Schedule(
        message.name,
        message.workflow,
        message.cron,
        message.time_zone or "UTC",
        catch_up,
        fields.document("schedule.inputs", message.inputs, b"{}"),
        message.paused,
    )
    fields.check("the schedule cannot be put")
    return result


def to_schedule(schedule: Schedule) -> schedule_pb2.Schedule:
    """Writes a schedule."""
    return schedule_pb2.Schedule(
        name=schedule.name,
        workflow=schedule.workflow,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        catch_up=schedule_pb2.CatchUp.Value(f"CATCH_UP_{schedule.catch_up}"),
        inputs=to_value(schedule.inputs),
        paused=schedule.paused,
        next_time=to_timestamp(schedule.next_time),
        last_time=to_timestamp(schedule.last_time),
        last_run_id=schedule.last_run_id,
        defined=schedule.defined,
    )
