"""Runs that schedules start: over a real store and journal, at a time that the test moves both ways, with crashes in between."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import ManualClock
from parade_scheduler.decider import Execution, Started
from parade_scheduler.leading.happenings import Whole
from parade_scheduler.model import Run
from parade_scheduler.schedule import CatchUp, Schedule
from parade_scheduler.starts.start import Caller, Start
from parade_scheduler.storage.schedules_store import Due, ScheduleStore
from parade_scheduler.storage.store import RunFilter, shard_of
from parade_scheduler.triggers.schedule_runner import ScheduleRunner
from parade_scheduler.triggers.schedules import Schedules
from tests.unit.scheduler.leading import Led, leading

ADA = Caller("default", "spiffe://parade.local/ns/default/client/ada")
ALL = frozenset(range(64))
HOURLY = Schedule("hourly", "flow", "0 * * * *")


class Clock(ManualClock):
    """A time of day that can be set, beside a time that only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


class Refusing(ScheduleStore):
    """A store that breaks down as often as a test says, after the runs were started and before that is noted."""

    breakdowns = 0

    async def started(self, due: Due, next_time: datetime | None, last_time: datetime | None, run: str) -> None:
        if self.breakdowns:
            self.breakdowns -= 1
            raise ParadeError(Reason.UNAVAILABLE, "the database has gone away")
        await super().started(due, next_time, last_time, run)


class World:
    """A schedule runner, and what starts its runs."""

    def __init__(self, led: Led) -> None:
        self.led = led
        self.clock = Clock()
        self.store = Refusing(led.database)
        self.schedules = Schedules(self.store, led.catalogue, self.clock, limit=3)
        self.runner = ScheduleRunner(self.store, self, self.clock, led.log)
        self.refusals: list[Exception] = []

    async def start(self, caller: Caller, start: Start) -> Whole:
        """Starts a run as the scheduler does: the request's name is unique in the store."""
        assert caller.is_absent
        if self.refusals:
            raise self.refusals.pop(0)
        workflow = await self.led.catalogue.workflow(caller.namespace, start.workflow)
        number = len(await self.runs())
        run = Run(
            f"run-{number:04}-07",
            caller.namespace,
            start.workflow,
            workflow.version,
            start.inputs,
            self.clock.now(),
            labels=start.labels,
            principal=caller.principal,
            request_id=start.request_id,
        )
        begun = await self.led.journal.start(Execution(await self.led.catalogue.definition(workflow), run), Started())
        if begun is not None:
            return begun
        known = await self.led.store.run_of_request(caller.namespace, start.request_id)
        assert known is not None
        return known, []

    async def runs(self) -> list[Run]:
        return sorted(await self.led.store.runs(RunFilter("default"), "", 1000), key=lambda run: run.id)

    async def times(self) -> list[str]:
        """Returns the hours for which runs were started."""
        return [run.request_id.removeprefix("schedule/hourly/")[:16] for run in await self.runs()]

    async def pass_time(self, **time: float) -> None:
        await self.clock.advance(timedelta(**time).total_seconds())
        await self.runner.look(ALL)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with leading(tmp_path) as led:
        led.lead()
        yield World(led)


async def test_a_run_is_started_when_the_time_has_come_as_whom_has_put_the_schedule(world: World) -> None:
    put = await world.schedules.put(ADA, HOURLY)
    assert put.next_time == datetime(2026, 1, 1, 1, tzinfo=UTC)

    await world.pass_time(minutes=59)
    assert await world.times() == []
    await world.pass_time(minutes=1)

    [run] = await world.runs()
    assert run.principal == ADA.principal
    assert run.labels == {"schedule": "hourly"}
    noted = await world.schedules.get(ADA, "hourly")
    assert noted.last_run_id == run.id
    assert noted.last_time == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert noted.next_time == datetime(2026, 1, 1, 2, tzinfo=UTC)


async def test_no_run_is_started_twice_where_the_scheduler_breaks_down_before_it_has_noted_the_first(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    world.store.breakdowns = 3

    for _ in range(60):
        await world.pass_time(minutes=1)
        world.runner = ScheduleRunner(world.store, world, world.clock, world.led.log)

    assert await world.times() == ["2026-01-01T01:00"]


async def test_a_time_of_day_that_is_set_back_an_hour_starts_nothing_again(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    await world.pass_time(hours=2, minutes=1)
    world.clock.offset = -timedelta(hours=1)

    await world.pass_time(minutes=30)
    await world.pass_time(hours=1)

    assert await world.times() == ["2026-01-01T02:00"]
    await world.pass_time(hours=1)
    assert await world.times() == ["2026-01-01T02:00", "2026-01-01T03:00"]


async def test_a_time_of_day_that_is_set_forward_an_hour_leaves_no_time_out(world: World) -> None:
    await world.schedules.put(ADA, replace(HOURLY, catch_up=CatchUp.ALL))
    await world.pass_time(minutes=30)
    world.clock.offset = timedelta(hours=2)

    await world.pass_time(minutes=1)

    assert await world.times() == ["2026-01-01T01:00", "2026-01-01T02:00"]


async def test_a_schedule_that_is_paused_rests_and_does_not_catch_up_when_it_goes_on(world: World) -> None:
    await world.schedules.put(ADA, replace(HOURLY, catch_up=CatchUp.ALL))
    await world.schedules.put(ADA, replace(HOURLY, catch_up=CatchUp.ALL, paused=True))
    await world.pass_time(hours=3, minutes=10)
    assert await world.times() == []

    await world.schedules.put(ADA, replace(HOURLY, catch_up=CatchUp.ALL))
    await world.pass_time(hours=1)

    assert await world.times() == ["2026-01-01T04:00"]


async def test_a_schedule_that_is_put_again_keeps_the_time_that_is_due(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    await world.clock.advance(3_700)

    await world.schedules.put(ADA, HOURLY)
    await world.runner.look(ALL)

    assert await world.times() == ["2026-01-01T01:00"]


async def test_a_schedule_that_is_changed_while_its_run_starts_is_not_changed_back(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    await world.clock.advance(3_700)
    [due] = await world.store.due(ALL, world.clock.now(), None, 10)
    daily = await world.schedules.put(ADA, replace(HOURLY, cron="0 6 * * *"))

    await world.store.started(due, datetime(2026, 1, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC), "run-x")

    assert await world.schedules.get(ADA, "hourly") == daily


async def test_a_run_that_there_is_no_room_for_is_started_later_and_holds_up_no_other(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    world.refusals = [ParadeError(Reason.NO_CAPACITY, "full")] * 2

    await world.pass_time(hours=1)
    await world.schedules.put(ADA, replace(HOURLY, name="other"))
    await world.pass_time(seconds=0.5)
    assert await world.times() == []
    await world.pass_time(seconds=2)
    await world.pass_time(seconds=4)

    assert await world.times() == ["2026-01-01T01:00"]


async def test_a_run_that_the_workflow_does_not_take_is_passed_over(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    world.refusals = [ParadeError(Reason.INVALID_ARGUMENTS, "it has other inputs by now")]

    await world.pass_time(hours=1)
    await world.pass_time(hours=1)

    assert await world.times() == ["2026-01-01T02:00"]


async def test_a_fault_in_one_schedule_keeps_no_other_from_being_seen_to(world: World) -> None:
    for name in ("hour-a", "hour-b"):
        await world.schedules.put(ADA, replace(HOURLY, name=name))
    world.refusals = [KeyError("a fault of ours")]

    await world.pass_time(hours=1)
    [run] = await world.runs()
    assert run.labels == {"schedule": "hour-b"}
    await world.pass_time(seconds=2)

    assert [run.labels["schedule"] for run in await world.runs()] == ["hour-b", "hour-a"]


async def test_only_the_owner_of_its_shard_sees_to_a_schedule(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    mine = shard_of("default/hourly")
    await world.clock.advance(3_700)

    await world.runner.look(ALL - {mine})
    assert await world.times() == []
    await world.runner.look(frozenset({mine}))

    assert await world.times() == ["2026-01-01T01:00"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Big"}, "schedule.name"),
        ({"name": "a.1"}, "schedule.name"),
        ({"name": ""}, "schedule.name"),
        ({"cron": "* * * *"}, "schedule.cron"),
        ({"cron": "61 * * * *"}, "schedule.cron"),
        ({"cron": "* " * 5_000}, "schedule.cron"),
        ({"time_zone": "Middle/Earth"}, "schedule.time_zone"),
        ({"time_zone": "../../etc/passwd"}, "schedule.time_zone"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_by_the_field_at_fault(world: World, change: dict[str, Any], field: str) -> None:
    with pytest.raises(ParadeError) as caught:
        await world.schedules.put(ADA, replace(HOURLY, **change))

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert [violation.field for violation in caught.value.violations] == [field]


async def test_a_schedule_of_a_workflow_that_there_is_not_is_refused(world: World) -> None:
    with pytest.raises(ParadeError) as caught:
        await world.schedules.put(ADA, replace(HOURLY, workflow="nowhere"))

    assert caught.value.reason is Reason.NOT_FOUND


async def test_a_namespace_has_so_many_schedules_and_no_more(world: World) -> None:
    for name in ("one", "two", "three", "three"):
        await world.schedules.put(ADA, replace(HOURLY, name=name))

    with pytest.raises(ParadeError, match="may have 3 schedules") as caught:
        await world.schedules.put(ADA, replace(HOURLY, name="four"))

    assert caught.value.reason is Reason.NO_CAPACITY
    await world.schedules.delete(ADA, "one")
    await world.schedules.put(ADA, replace(HOURLY, name="four"))


async def test_schedules_are_listed_by_name_in_pages(world: World) -> None:
    for name in ("b", "a", "c"):
        await world.schedules.put(ADA, replace(HOURLY, name=name))

    first, token = await world.schedules.list(ADA, "flow", 2, "")
    rest, end = await world.schedules.list(ADA, "flow", 2, token)

    assert [schedule.name for schedule in (*first, *rest)] == ["a", "b", "c"]
    assert end == ""
    assert await world.schedules.list(ADA, "other", 2, "") == ([], "")
    assert await world.schedules.list(Caller("elsewhere", ""), "", 2, "") == ([], "")


async def test_a_schedule_that_is_deleted_is_gone(world: World) -> None:
    await world.schedules.put(ADA, HOURLY)
    await world.schedules.delete(ADA, "hourly")

    for asking in (world.schedules.get, world.schedules.delete):
        with pytest.raises(ParadeError) as caught:
            await asking(ADA, "hourly")
        assert caught.value.reason is Reason.NOT_FOUND
    await world.pass_time(hours=2)
    assert await world.times() == []
